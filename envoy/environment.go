package envoy

import "os"

// passedOn are the variables that an Envoy gets: those by which programs find their files, their time and names of
// hosts. Ours may hold secrets, which Envoy has no use for.
var passedOn = []string{
	"PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH",
	"TZ", "LANG", "LC_ALL",
	"LOCALDOMAIN", "RES_OPTIONS", // resolver(5)
}

// environment is Envoy's, also when it is only asked for its version.
func environment() []string {
	env := []string{} // not nil, which would mean all of ours
	for _, name := range passedOn {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
