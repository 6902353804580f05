package provider

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// number reads what may stand for a count or a time.
func number(text string) (n float64, ok bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// firstInstant in seconds: from here on a number is no duration but Unix time, this one of the year 1973.
const firstInstant = 1e8

// span reads how long something lasts: a number of units, a duration such as 6m0s, 20ms or 1d2h, or the instant of its
// end, from now; 0 when it says nothing sensible.
func span(text string, unit time.Duration, now time.Time) time.Duration {
	if n, ok := number(text); ok && n*unit.Seconds() < firstInstant {
		return time.Duration(max(n, 0) * float64(unit))
	}
	if d := duration(text); d > 0 {
		return d
	}
	return instant(text, now)
}

// duration reads Go's notation, with days before it if need be.
func duration(text string) time.Duration {
	text = strings.TrimSpace(text)
	var days time.Duration
	if before, rest, found := strings.Cut(text, "d"); found {
		n, ok := number(before)
		if !ok || n < 0 || n > 36500 {
			return 0
		}
		if days, text = time.Duration(n*24*float64(time.Hour)), rest; text == "" {
			return days
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0
	}
	return days + d
}

// instant reads a moment, in RFC 3339, as HTTP's date, or as Unix time in seconds or milliseconds, as a duration from
// now; 0 when it has passed or is none.
func instant(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t, err = http.ParseTime(text)
	}
	if err == nil {
		return max(t.Sub(now), 0)
	}
	n, _ := number(text)
	switch {
	case n >= 1e12 && n < 1e14:
		t = time.UnixMilli(int64(n))
	case n >= firstInstant && n < 1e11:
		t = time.UnixMilli(int64(n * 1000))
	default:
		return 0
	}
	return max(t.Sub(now), 0)
}
