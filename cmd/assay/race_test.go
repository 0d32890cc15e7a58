//go:build race

package main

// raceDetector is true if the test was built with -race.
const raceDetector = true
