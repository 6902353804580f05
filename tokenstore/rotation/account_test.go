package rotation

import (
	"testing"

	"github.com/tokenward/tokenward/tokenstore/record"
)

func TestWhatPoolsNeedToKnow(t *testing.T) {
	same := living().membership()
	for name, c := range map[string]struct {
		edit func(*lifecycle)
		news bool
	}{
		"another token":    {func(l *lifecycle) { l.token = nil }, false},
		"another label":    {func(l *lifecycle) { l.record.Labels = map[string]string{"x": "y"} }, false},
		"its pool by name": {func(l *lifecycle) { l.record.Pools = []string{"p"} }, false},
		"another pool":     {func(l *lifecycle) { l.record.Pools = []string{"p", "r"} }, true},
		"another tenant":   {func(l *lifecycle) { l.record.Tenant = "t" }, true},
		"another provider": {func(l *lifecycle) { l.record.Provider, l.record.Pools = "q", []string{"p"} }, true},
		"a pause":          {func(l *lifecycle) { l.record.State = record.Paused }, true},
		"a copy elsewhere": {func(l *lifecycle) { l.record.Labels = map[string]string{record.LabelCopiedTo: "x"} }, true},
		"a deletion":       {func(l *lifecycle) { l.presence = deleted }, true},
		"a problem":        {func(l *lifecycle) { l.problem = ErrPaused }, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			c.edit(l)
			if got := !l.membership().equal(same); got != c.news {
				t.Errorf("news: %v", got)
			}
		})
	}
}
