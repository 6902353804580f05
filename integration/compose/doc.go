// Package compose tests docker-compose.yaml and the Dockerfile where there is no container engine: it reads them, and
// runs the very same commands as processes, each in a root folder of its own, with the users, mounts, environment,
// health checks and conditions that the files say. What it does not imitate it refuses, so that nothing is passed over
// in silence.
package compose
