// Command suite makes the table of what the suite proved: every driver, every
// row, and how much each pass is worth. It reads what "go test -json" says of the
// drivers' tests, so that nothing is in it but what ran.
//
//	go test -json ./drivers/... | go run ./drivers/all/suite -o docs/suite.md
//
// It prints the table too, and exits with 1 if anything failed.
package main

import (
	"flag"
	"fmt"
	"os"

	"assay/drivers/all"
	"assay/drivers/drivertest"
)

func main() {
	out := flag.String("o", "", "file to write the table to, beside standard output")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	r, err := read(os.Stdin)
	if err != nil {
		return err
	}
	var drivers []string
	for _, d := range all.Drivers("", nil) {
		drivers = append(drivers, d.Name())
	}
	text := r.table(drivers, drivertest.Rows())
	fmt.Print(text)
	if out != "" {
		if err := os.WriteFile(out, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if len(r.failed) > 0 {
		return fmt.Errorf("%d tests failed, %s first", len(r.failed), r.failed[0])
	}
	return nil
}
