package selection

import (
	"testing"
	"time"
)

func TestGuiltEndsByItsAge(t *testing.T) {
	var g Guilty
	g.Note(red, start)
	for after, want := range map[time.Duration]Guilt{
		0:                  {recent: true, remembered: true},
		time.Minute - 1:    {recent: true, remembered: true},
		time.Minute:        {remembered: true},
		10*time.Minute - 1: {remembered: true},
		10 * time.Minute:   {},
	} {
		if got := g.Of(red, start.Add(after)); got != want {
			t.Errorf("after %v: %+v, want %+v", after, got, want)
		}
		if got := g.Of(blue, start.Add(after)); got != (Guilt{}) {
			t.Errorf("a request of another shape: %+v", got)
		}
	}
	g.Note(red, start.Add(5*time.Minute))
	if got := g.Of(red, start.Add(5*time.Minute)); !got.recent {
		t.Errorf("found guilty again: %+v", got)
	}
}

func TestGuiltyIsQuickToTellThatNobodyIs(t *testing.T) {
	var g Guilty
	if g.Any() || g.Of(red, start) != (Guilt{}) {
		t.Error("the zero value remembers somebody")
	}
	g.Note(red, start)
	g.Note(blue, start)
	for i, step := range []struct {
		forget uint64
		any    bool
	}{{3, true}, {red, true}, {red, true}, {blue, false}} {
		g.Forget(step.forget, start)
		if g.Any() != step.any {
			t.Errorf("step %d: any is %t", i, g.Any())
		}
		if g.Of(step.forget, start) != (Guilt{}) {
			t.Errorf("step %d: the shape is not forgotten", i)
		}
	}
}

func TestGuiltyForgetsTheOldWhenItForgetsAnother(t *testing.T) {
	var g Guilty
	g.Note(red, start)
	g.Note(blue, start.Add(5*time.Minute))
	for _, step := range []struct {
		after time.Duration
		left  int
	}{
		{10 * time.Minute, 2}, // red is just ten minutes old
		{10*time.Minute + 1, 2},
		{11*time.Minute + 1, 1}, // looked over once a minute
		{15*time.Minute + 1, 0},
	} {
		g.Forget(3, start.Add(step.after))
		if got := len(g.at); got != step.left || g.Any() != (got > 0) {
			t.Errorf("after %v %d are kept, want %d; any: %t", step.after, got, step.left, g.Any())
		}
	}
}

func TestGuiltyKeepsABoundedNumber(t *testing.T) {
	var g Guilty
	most := 0
	for i := range uint64(3*guiltKept + 1) {
		g.Note(i, start)
		if most = max(most, len(g.at)); g.Of(i, start) == (Guilt{}) {
			t.Fatalf("the one just found guilty, %d, is not remembered", i)
		}
	}
	if most != guiltKept {
		t.Errorf("%d at once, want %d", most, guiltKept)
	}
}

func TestAShapeTellsItsWordsApart(t *testing.T) {
	shapes := []uint64{
		Shape(), Shape(""), Shape("a"), Shape("a", ""), Shape("", "a"), Shape("a", "b"), Shape("b", "a"), Shape("ab"),
	}
	if len(distinct(shapes)) != len(shapes) {
		t.Error("different words have one shape: ", shapes)
	}
	if again := Shape("a", "b"); again != shapes[5] {
		t.Error("the same words have two shapes")
	}
}

func distinct(all []uint64) map[uint64]bool {
	seen := map[uint64]bool{}
	for _, n := range all {
		seen[n] = true
	}
	return seen
}
