package results

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
)

// latestVersion is the schema version that this assay reads and writes.
const latestVersion = 3

// migrations holds NNNN.sql, which brings a database from version NNNN-1 to NNNN.
//
//go:embed migrations
var migrationFiles embed.FS

var migrations, _ = fs.Sub(migrationFiles, "migrations") // the name is valid: embed checked it

// migrate brings a database to the newest version that files hold, in one
// transaction: all or nothing. Of several processes that start at once, one
// migrates and the others find the work done.
func migrate(db *sql.DB, files fs.FS) (err error) {
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Views and tables refer to one another; a migration may replace them in any order.
	if _, err := conn.ExecContext(ctx, "PRAGMA foreign_keys = OFF"); err != nil {
		return err
	}
	defer conn.ExecContext(ctx, "PRAGMA foreign_keys = ON")
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := migrateSteps(tx, files); err != nil {
		return err
	}
	return tx.Commit()
}

// migrateSteps applies, in turn, the files above the database's version.
func migrateSteps(tx *sql.Tx, files fs.FS) error {
	for {
		var version int
		if err := tx.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
			return err
		}
		text, err := fs.ReadFile(files, fmt.Sprintf("%04d.sql", version+1))
		if err != nil {
			return nil // there is no later version
		}
		if _, err := tx.Exec(string(text)); err != nil {
			return fmt.Errorf("migrate to schema %d: %w", version+1, err)
		}
		if _, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", version+1)); err != nil {
			return err
		}
	}
}
