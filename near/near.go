// Package near finds the word that a misspelt one stands for.
package near

import "strings"

var separators = strings.NewReplacer("-", "", "_", "", ".", "", " ", "")

// Bare returns a word without what spellings differ in: refreshToken and refresh-token are refreshtoken.
func Bare(word string) string { return separators.Replace(strings.ToLower(word)) }

// Word returns the known word that a misspelt one most likely stands for; "": none comes near, or the word is a known
// one. A letter in four may be wrong, three at most, or the word is the beginning of the known one. Case, dots, blanks,
// - and _ play no part.
func Word(word string, known []string) string {
	w := Bare(word)
	best, least := "", min(1+len(w)/4, 3, len(w))+1 // more slips are another word
	for _, k := range known {
		c := Bare(k)
		d := distance(w, c)
		if len(w) >= 3 && strings.HasPrefix(c, w) { // begun, and not written out
			d = min(d, 3)
			least = max(least, 4)
		}
		if k == word {
			return "" // spelt right: something else is wrong with it
		}
		if d < least || d == least && k < best {
			best, least = k, d
		}
	}
	return best
}

// distance counts the slips between two words: a letter too many, too few or wrong, or two that changed places (Damerau
// and Levenshtein's, restricted to one slip per letter).
func distance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
