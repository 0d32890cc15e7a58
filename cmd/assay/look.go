package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"assay"
	"assay/report"
	"assay/results"
)

// dbFlag lets a command read another database.
func (a *app) dbFlag(c *cobra.Command) {
	c.Flags().StringVar(&a.db, "db", "", "`FILE` of the results (default: results.db in the state folder)")
}

// withDB runs fn with the results open for reading.
func (a *app) withDB(fn func(*results.DB) error) error {
	db, err := a.openDB()
	if err != nil {
		return err
	}
	defer db.Close()
	a.closeAllDead()
	return fn(db)
}

func (a *app) historyCommand() *cobra.Command {
	var filter results.RunFilter
	var limit int
	var since, verdict string
	var asJSON bool
	c := &cobra.Command{
		Use:   "history",
		Short: "List the runs, newest first",
		Example: `  assay history
  assay history --verdict fail --since 168h --json`,
		Args: operands(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if filter.Since, err = parseSince("history", since); err != nil {
				return err
			}
			if verdict != "" {
				if err := oneOf("history", "verdict", verdict, "pass", "warn", "skip", "fail", "error"); err != nil {
					return err
				}
			}
			filter.Verdict = assay.Verdict(verdict)
			if limit < 0 {
				return usagef("", "history: for -n, --limit: got %d, want nothing below 0", limit)
			}
			return a.withDB(func(db *results.DB) error { return a.history(db, limit, filter, asJSON) })
		},
	}
	c.Flags().IntVarP(&limit, "limit", "n", 20, "at most this many; 0 means all")
	c.Flags().StringVar(&filter.Script, "script", "", "only scripts whose name matches the `GLOB`")
	c.Flags().StringVar(&since, "since", "", "only runs since a `TIME` such as 2026-11-23, or a duration such as 24h")
	c.Flags().StringVar(&verdict, "verdict", "", "only runs with this verdict")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	must(c.RegisterFlagCompletionFunc("verdict", words("pass", "warn", "skip", "fail", "error")))
	a.dbFlag(c)
	return c
}

func (a *app) history(db *results.DB, limit int, f results.RunFilter, asJSON bool) error {
	runs, err := db.Runs(limit, f)
	if err != nil {
		return err
	}
	if asJSON {
		if runs == nil {
			runs = []assay.RunSummary{}
		}
		return a.printJSON(runs)
	}
	width, colour := screen(a.stdout)
	return report.History(a.stdout, runs, width, colour)
}

// parseSince reads a date, a moment or a duration ago.
func parseSince(command, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339, time.DateTime} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return time.Now().Add(-d), nil
	}
	return time.Time{}, usagef("", "%s: for --since: got %q, want a date such as 2026-11-23 or a duration such as 24h", command, s)
}

// one returns a run of the database, in the words of this program if there is none.
func one(db *results.DB, command, id string) (assay.Run, error) {
	run, err := db.Run(id)
	if errors.Is(err, fs.ErrNotExist) && id == "last" {
		return run, &nothingError{command + ": no runs yet"}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return run, usagef("\"assay history\" lists the runs", "%s: %w", command, err)
	}
	return run, err
}

func (a *app) showCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show [RUN]",
		Short: "Show how a run went: verdicts, grades, findings",
		Long:  "Show how a run went. RUN is an id, the beginning of one, or last, which is the default.",
		Example: `  assay show last
  assay show 20261123T130009-7f3a --json`,
		Args:              operands(0, 1, "at most one RUN"),
		ValidArgsFunction: a.completeRuns,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withDB(func(db *results.DB) error {
				run, err := one(db, "show", runID(args))
				if err != nil {
					return err
				}
				if asJSON {
					return report.JSON(a.stdout, run)
				}
				width, colour := screen(a.stdout)
				return report.Summary(a.stdout, run, width, colour)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print everything that is known, as JSON")
	a.dbFlag(c)
	return c
}

// runID is the operand, or the newest run.
func runID(args []string) string {
	if len(args) == 0 {
		return "last"
	}
	return args[0]
}

// formatNames lists the report formats as --format takes them: name and extension.
func formatNames() []string {
	var names []string
	for _, f := range report.Formats() {
		names = append(names, strings.TrimPrefix(f.Ext, "."))
	}
	return names
}

func (a *app) reportCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "report [RUN]",
		Short: "Write a run's full report",
		Long:  "Write a run's full report to standard output. RUN is an id, the beginning of one, or last, which is the default.",
		Example: `  assay report last > report.md
  assay report 20261123 --format json`,
		Args:              operands(0, 1, "at most one RUN"),
		ValidArgsFunction: a.completeRuns,
		RunE: func(c *cobra.Command, args []string) error {
			f, err := formatNamed(format)
			if err != nil {
				return err
			}
			return a.withDB(func(db *results.DB) error {
				run, err := one(db, "report", runID(args))
				if err != nil {
					return err
				}
				return f.Render(a.stdout, run)
			})
		},
	}
	c.Flags().StringVar(&format, "format", formatNames()[0], "one of "+strings.Join(formatNames(), ", "))
	must(c.RegisterFlagCompletionFunc("format", words(formatNames()...)))
	a.dbFlag(c)
	return c
}

func formatNamed(name string) (report.Format, error) {
	for _, f := range report.Formats() {
		if name == f.Name || "."+name == f.Ext {
			return f, nil
		}
	}
	return report.Format{}, oneOf("report", "format", name, formatNames()...)
}

func (a *app) trendCommand() *cobra.Command {
	var q results.TrendQuery
	var since string
	var asJSON bool
	c := &cobra.Command{
		Use:   "trend",
		Short: "Show how a number changed, by OS version or version of assay, and over time",
		Example: `  assay trend
  assay trend --os 'debian-1*' --metric findings --by rule
  assay trend --script bench --by metric --metric median --columns version`,
		Args: operands(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if q.Since, err = parseSince("trend", since); err != nil {
				return err
			}
			if err := checkTrend(q); err != nil {
				return err
			}
			if q.Last < 1 {
				return usagef("", "trend: for --last: got %d, want at least 1", q.Last)
			}
			return a.withDB(func(db *results.DB) error { return a.trend(db, q, asJSON) })
		},
	}
	fl := c.Flags()
	fl.StringVar(&q.Script, "script", "", "only scripts whose name matches the `GLOB`")
	fl.StringVar(&q.Test, "test", "", "only tests whose name matches the `GLOB`")
	fl.StringVar(&q.Subject, "subject", "", "only subjects whose name matches the `GLOB`")
	fl.StringVar(&q.OS, "os", "", "only OS versions that match the `GLOB`, such as debian-1*")
	fl.StringVar(&q.Driver, "driver", "", "only this hypervisor")
	fl.StringVar(&since, "since", "", "only runs since a `TIME` such as 2026-11-23, or a duration such as 720h")
	fl.StringVar(&q.Metric, "metric", results.TrendMetrics[0], "one of "+strings.Join(results.TrendMetrics, ", ")+"; with --by metric a glob on the name of a stored one")
	fl.StringVar(&q.By, "by", results.TrendRows[0], "a row for each "+strings.Join(results.TrendRows, ", "))
	fl.StringVar(&q.Columns, "columns", results.TrendColumns[0], "a column for each version of the guest's os, or each version of assay: "+strings.Join(results.TrendColumns, ", "))
	fl.IntVar(&q.Last, "last", 20, "how many runs back")
	fl.BoolVar(&asJSON, "json", false, "print JSON")
	must(c.RegisterFlagCompletionFunc("metric", words(results.TrendMetrics...)))
	must(c.RegisterFlagCompletionFunc("by", words(results.TrendRows...)))
	must(c.RegisterFlagCompletionFunc("columns", words(results.TrendColumns...)))
	must(c.RegisterFlagCompletionFunc("driver", a.completeDrivers))
	a.dbFlag(c)
	return c
}

// checkTrend checks the words of a question. A metric that is stored may have
// any name.
func checkTrend(q results.TrendQuery) error {
	err := errors.Join(oneOf("trend", "by", q.By, results.TrendRows...), oneOf("trend", "columns", q.Columns, results.TrendColumns...))
	if err == nil && q.By != "metric" {
		err = oneOf("trend", "metric", q.Metric, results.TrendMetrics...)
	}
	return err
}

func (a *app) trend(db *results.DB, q results.TrendQuery, asJSON bool) error {
	t, err := db.Trend(q)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(t)
	}
	width, colour := screen(a.stdout)
	return report.Trend(a.stdout, t, width, colour)
}

func (a *app) queryCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "query SQL",
		Short: "Ask the results database",
		Long: `Ask the results database, read-only, in SQL. "-" reads the question from
standard input. docs/queries.md explains the tables and views.`,
		Example: `  assay query 'SELECT name, sql FROM sqlite_schema WHERE type = "view"'
  assay query --format csv 'SELECT * FROM runs'`,
		Args: operands(1, 1, "one SQL statement, or - for standard input"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := oneOf("query", "format", format, "table", "csv", "json"); err != nil {
				return err
			}
			sql := args[0]
			if sql == "-" {
				text, err := io.ReadAll(io.LimitReader(a.stdin, 1<<20))
				if err != nil {
					return err
				}
				sql = string(text)
			}
			return a.withDB(func(db *results.DB) error {
				rows, err := db.Query(c.Context(), sql)
				if err != nil {
					return usagef("", "%w", err)
				}
				return a.printRows(rows, format)
			})
		},
	}
	c.Flags().StringVar(&format, "format", "table", "table, csv or json")
	must(c.RegisterFlagCompletionFunc("format", words("table", "csv", "json")))
	a.dbFlag(c)
	return c
}

func (a *app) printRows(rows *results.Rows, format string) error {
	if rows.Truncated {
		a.note("query: the answer is cut after %d rows", len(rows.Values))
	}
	switch format {
	case "csv":
		return report.CSV(a.stdout, rows.Columns, rows.Values)
	case "json":
		return report.RowsJSON(a.stdout, rows.Columns, rows.Values)
	}
	return a.table(rows.Columns, rows.Values)
}

// table prints columns and rows for a person.
func (a *app) table(columns []string, rows [][]any) error {
	width, colour := screen(a.stdout)
	var buf bytes.Buffer
	if err := report.Table(&buf, columns, rows, width, colour); err != nil {
		return err
	}
	_, err := buf.WriteTo(a.stdout)
	return err
}
