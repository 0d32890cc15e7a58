-- The results of assay: what a fresh database holds.
--
-- To ask questions, use the views at the end: they read like sentences and hide
-- the ids. The tables are built to be small. Rules that hold everywhere:
--   * a singular name is a table, a plural name or an adjective is a view;
--   * a string that repeats (a path, a name, a set of attributes) is stored once
--     in word, and the column holds its id;
--   * a moment is text in UTC with nanoseconds, 2026-11-23T13:00:09.000000000Z:
--     it sorts, and SQLite's date functions read it; a duration is in seconds;
--     a size is in bytes;
--   * "JSON" says that the text is JSON; an empty list or map is NULL;
--   * the verdicts are pass, warn, skip, fail (the subject's doing) and error (ours).
-- There are no functions or collations of our own: any SQLite browser opens it.

PRAGMA application_id = 1634956153; -- "assy": tells our file from other SQLite files
PRAGMA user_version = 1;            -- of this schema; migrations/ has the way from one to the next

-- ---------------------------------------------------------------- dictionaries

CREATE TABLE word (
  id   INTEGER PRIMARY KEY,
  text TEXT NOT NULL UNIQUE
);

-- Where a cell ran. The guest said so itself, or, when it never answered, the image's name.
CREATE TABLE target (
  id          INTEGER PRIMARY KEY,
  os          TEXT NOT NULL,    -- debian
  version     TEXT NOT NULL,    -- 12
  version_key TEXT NOT NULL,    -- 00012: sorts as the versions do
  arch        TEXT NOT NULL,    -- amd64
  driver      TEXT NOT NULL,    -- qemu
  UNIQUE (os, version_key, version, arch, driver)
);

CREATE TABLE image (
  id     INTEGER PRIMARY KEY,
  name   TEXT NOT NULL,
  digest TEXT NOT NULL,         -- sha256 of the disk
  UNIQUE (name, digest)
);

-- ---------------------------------------------------------------- what ran

-- One call of "assay run".
CREATE TABLE run (
  id          INTEGER PRIMARY KEY,
  name        TEXT NOT NULL UNIQUE, -- 20261123T130009-7f3a: sorts by time
  started     TEXT NOT NULL,
  seconds     REAL NOT NULL,
  verdict     TEXT,             -- the worst of its cells; NULL while it goes on
  command     INTEGER REFERENCES word, -- JSON: argv as typed
  version     TEXT NOT NULL,    -- of assay
  host_name   TEXT NOT NULL,
  host_os     TEXT NOT NULL,
  host_arch   TEXT NOT NULL,
  host_cpus   INTEGER NOT NULL,
  host_memory INTEGER NOT NULL
);
CREATE INDEX run_by_time ON run (started);

-- One test in one place: script x test x image x driver x variant.
CREATE TABLE cell (
  id            INTEGER PRIMARY KEY,
  run           INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  position      INTEGER NOT NULL,                   -- in the run, from 0
  name          INTEGER NOT NULL REFERENCES word,   -- skill.star:test_skill@debian-12/qemu
  script        INTEGER NOT NULL REFERENCES word,
  script_digest INTEGER NOT NULL REFERENCES word,
  test          INTEGER NOT NULL REFERENCES word,
  image         INTEGER NOT NULL REFERENCES word,
  driver        INTEGER NOT NULL REFERENCES word,
  variant       INTEGER NOT NULL REFERENCES word,
  subject       INTEGER NOT NULL REFERENCES word,   -- of its first grade; of its last time, when it came to none
  target        INTEGER NOT NULL REFERENCES target,
  params        INTEGER REFERENCES word,            -- JSON
  started       TEXT,                               -- NULL: planned and not begun
  seconds       REAL NOT NULL,
  verdict       TEXT,                               -- NULL while it goes on
  UNIQUE (run, name)
);
CREATE INDEX cell_by_test ON cell (script, test, variant, subject, target, started);
CREATE INDEX cell_by_time ON cell (started);

-- Why a cell did not pass. kind: subject, script, infrastructure, interrupted.
CREATE TABLE failure (
  cell      INTEGER PRIMARY KEY REFERENCES cell ON DELETE CASCADE,
  kind      TEXT NOT NULL,
  message   TEXT NOT NULL,
  position  TEXT,
  backtrace TEXT,
  detail    TEXT
);

CREATE TABLE machine (
  cell         INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
  seq          INTEGER NOT NULL,
  name         INTEGER NOT NULL REFERENCES word,
  image        INTEGER NOT NULL REFERENCES image,
  target       INTEGER NOT NULL REFERENCES target,
  os_name      INTEGER NOT NULL REFERENCES word,
  kernel       INTEGER NOT NULL REFERENCES word,
  accel        TEXT,
  cpus         INTEGER NOT NULL,
  memory       INTEGER NOT NULL,
  disk         INTEGER NOT NULL,
  network      INTEGER NOT NULL REFERENCES word,
  boot_seconds REAL NOT NULL,
  parent       INTEGER REFERENCES word,
  console      TEXT,                                -- digest of an artifact
  PRIMARY KEY (cell, seq)
) WITHOUT ROWID;

-- One call of a verb.
CREATE TABLE step (
  cell          INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
  seq           INTEGER NOT NULL,                   -- from 1, in order of start
  verb          INTEGER NOT NULL REFERENCES word,
  detail        INTEGER NOT NULL REFERENCES word,
  position      INTEGER NOT NULL REFERENCES word,   -- skill.star:12
  machine       INTEGER REFERENCES word,
  start_seconds REAL NOT NULL,                      -- since the cell's start
  seconds       REAL NOT NULL,
  error         TEXT,
  PRIMARY KEY (cell, seq)
) WITHOUT ROWID;

-- What the command of a step did. Long output is cut in the middle; the byte counts are whole.
CREATE TABLE exec (
  cell         INTEGER NOT NULL,
  step         INTEGER NOT NULL,
  command      INTEGER REFERENCES word,             -- JSON: argv
  user         INTEGER NOT NULL REFERENCES word,
  dir          INTEGER REFERENCES word,
  code         INTEGER NOT NULL,                    -- -1: a signal ended it
  signal       TEXT,
  timed_out    INTEGER NOT NULL,
  stdout       TEXT,
  stderr       TEXT,
  stdout_bytes INTEGER NOT NULL,
  stderr_bytes INTEGER NOT NULL,
  cpu_seconds  REAL NOT NULL,
  peak_memory  INTEGER NOT NULL,
  PRIMARY KEY (cell, step),
  FOREIGN KEY (cell, step) REFERENCES step ON DELETE CASCADE
);

-- A process that a command left running.
CREATE TABLE orphan (
  cell    INTEGER NOT NULL,
  step    INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  pid     INTEGER NOT NULL,
  ppid    INTEGER NOT NULL,
  user    INTEGER NOT NULL REFERENCES word,
  command INTEGER NOT NULL REFERENCES word,
  PRIMARY KEY (cell, step, seq),
  FOREIGN KEY (cell, step) REFERENCES step ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE metric (
  cell  INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
  seq   INTEGER NOT NULL,
  name  INTEGER NOT NULL REFERENCES word,
  value REAL NOT NULL,
  unit  TEXT NOT NULL,          -- seconds, bytes, count
  PRIMARY KEY (cell, seq)
) WITHOUT ROWID;

-- A file kept beside the database: artifacts/ab/cdef..., by the sha256 of its bytes.
CREATE TABLE artifact (
  cell   INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
  seq    INTEGER NOT NULL,
  name   INTEGER NOT NULL REFERENCES word,
  digest TEXT NOT NULL,
  size   INTEGER NOT NULL,
  PRIMARY KEY (cell, seq)
) WITHOUT ROWID;

-- One check() of a script.
CREATE TABLE checked (
  cell    INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
  seq     INTEGER NOT NULL,
  step    INTEGER NOT NULL,
  ok      INTEGER NOT NULL,
  message INTEGER NOT NULL REFERENCES word,
  PRIMARY KEY (cell, seq)
) WITHOUT ROWID;

-- ---------------------------------------------------------------- what was observed

CREATE TABLE capture (
  cell     INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
  id       INTEGER NOT NULL,                        -- from 1 in the cell
  machine  INTEGER NOT NULL REFERENCES word,
  step     INTEGER NOT NULL,
  digest   TEXT NOT NULL,
  counts   INTEGER REFERENCES word,                 -- JSON: records by kind
  problems INTEGER REFERENCES word,                 -- JSON: what could not be observed
  seconds  REAL NOT NULL,
  PRIMARY KEY (cell, id)
) WITHOUT ROWID;

CREATE TABLE diff (
  cell    INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
  id      INTEGER NOT NULL,                         -- from 1 in the cell
  step    INTEGER NOT NULL,
  before  INTEGER NOT NULL,                         -- capture
  after   INTEGER NOT NULL,                         -- capture
  ignored INTEGER NOT NULL,                         -- changes that the script's globs left out
  PRIMARY KEY (cell, id)
) WITHOUT ROWID;

-- One record that the two captures do not share.
CREATE TABLE change (
  cell   INTEGER NOT NULL,
  diff   INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  kind   TEXT NOT NULL,                             -- file, package, process, unit, ...
  key    INTEGER NOT NULL REFERENCES word,          -- path, name, ...
  op     TEXT NOT NULL,                             -- added, removed, modified
  before INTEGER REFERENCES word,                   -- JSON: attributes
  after  INTEGER REFERENCES word,                   -- JSON: attributes
  fields INTEGER REFERENCES word,                   -- JSON: the attributes that differ
  text   INTEGER REFERENCES word,                   -- unified diff of a small text file
  fold   INTEGER REFERENCES word,                   -- "package jq" owns this change
  PRIMARY KEY (cell, diff, seq),
  FOREIGN KEY (cell, diff) REFERENCES diff ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX change_by_key ON change (key, cell);

-- ---------------------------------------------------------------- how it was judged

CREATE TABLE grade (
  cell    INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
  id      INTEGER NOT NULL,                         -- from 1 in the cell
  step    INTEGER NOT NULL,
  subject INTEGER NOT NULL REFERENCES word,
  policy  INTEGER NOT NULL REFERENCES word,         -- name@version
  letter  TEXT NOT NULL,                            -- A to F; "-": the run did not finish
  score   REAL NOT NULL,                            -- 0 to 100
  verdict TEXT NOT NULL,
  caps    INTEGER REFERENCES word,                  -- JSON: why the letter is lower than the score says
  diff    INTEGER NOT NULL,                         -- that it judged; 0: none
  PRIMARY KEY (cell, id)
) WITHOUT ROWID;

CREATE TABLE axis (
  cell   INTEGER NOT NULL,
  grade  INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  name   TEXT NOT NULL,
  score  REAL NOT NULL,
  weight REAL NOT NULL,
  PRIMARY KEY (cell, grade, seq),
  FOREIGN KEY (cell, grade) REFERENCES grade ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE finding (
  cell           INTEGER NOT NULL,
  grade          INTEGER NOT NULL,
  seq            INTEGER NOT NULL,                  -- from 0, worst first
  rule           INTEGER NOT NULL REFERENCES word,
  severity       TEXT NOT NULL,                     -- CRITICAL, HIGH, MEDIUM, LOW, INFO
  axis           TEXT NOT NULL,
  points         REAL NOT NULL,
  message        INTEGER NOT NULL REFERENCES word,
  recommendation INTEGER NOT NULL REFERENCES word,
  attack         TEXT,                              -- ATT&CK technique
  waived         INTEGER REFERENCES word,           -- JSON: the waiver; NULL: it counts
  PRIMARY KEY (cell, grade, seq),
  FOREIGN KEY (cell, grade) REFERENCES grade ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX finding_by_rule ON finding (rule, cell);

-- The rows that prove a finding: a change's kind and key, an exec's step, a line of the subject.
CREATE TABLE evidence (
  cell    INTEGER NOT NULL,
  grade   INTEGER NOT NULL,
  finding INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  kind    TEXT NOT NULL,
  key     INTEGER NOT NULL REFERENCES word,
  detail  INTEGER REFERENCES word,
  PRIMARY KEY (cell, grade, finding, seq),
  FOREIGN KEY (cell, grade, finding) REFERENCES finding ON DELETE CASCADE
) WITHOUT ROWID;

-- A rule that looked and found nothing.
CREATE TABLE clear (
  cell    INTEGER NOT NULL,
  grade   INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  rule    INTEGER NOT NULL REFERENCES word,
  axis    TEXT NOT NULL,
  message INTEGER NOT NULL REFERENCES word,
  PRIMARY KEY (cell, grade, seq),
  FOREIGN KEY (cell, grade) REFERENCES grade ON DELETE CASCADE
) WITHOUT ROWID;

-- ---------------------------------------------------------------- views: the tables, readable

CREATE VIEW runs AS
SELECT r.name AS run, r.started, r.seconds, coalesce(r.verdict, 'running') AS verdict, r.version, r.host_name,
       count(c.id) AS cells,
       sum(c.verdict = 'pass') AS passed, sum(c.verdict = 'warn') AS warned, sum(c.verdict = 'fail') AS failed,
       sum(c.verdict = 'error') AS errors, w.text AS command
FROM run r LEFT JOIN cell c ON c.run = r.id LEFT JOIN word w ON w.id = r.command
GROUP BY r.id;

CREATE VIEW cells AS
SELECT c.id AS cell_id, r.name AS run, n.text AS cell, s.text AS script, t.text AS test, v.text AS variant,
       j.text AS subject, i.text AS image, g.os, g.version, g.version_key, g.arch, g.driver,
       c.started, c.seconds, coalesce(c.verdict, 'running') AS verdict,
       f.kind AS failure, f.message, p.text AS params
FROM cell c
JOIN run r ON r.id = c.run
JOIN word n ON n.id = c.name JOIN word s ON s.id = c.script JOIN word t ON t.id = c.test
JOIN word v ON v.id = c.variant JOIN word j ON j.id = c.subject JOIN word i ON i.id = c.image
JOIN target g ON g.id = c.target
LEFT JOIN failure f ON f.cell = c.id LEFT JOIN word p ON p.id = c.params;

CREATE VIEW machines AS
SELECT m.cell AS cell_id, r.name AS run, n.text AS machine, i.name AS image, i.digest AS image_digest,
       g.os, g.version, g.version_key, g.arch, g.driver, k.text AS kernel, m.accel, m.cpus, m.memory, m.disk,
       w.text AS network, m.boot_seconds, p.text AS parent
FROM machine m
JOIN cell c ON c.id = m.cell JOIN run r ON r.id = c.run
JOIN word n ON n.id = m.name JOIN image i ON i.id = m.image JOIN target g ON g.id = m.target
JOIN word k ON k.id = m.kernel JOIN word w ON w.id = m.network LEFT JOIN word p ON p.id = m.parent;

CREATE VIEW steps AS
SELECT s.cell AS cell_id, r.name AS run, n.text AS cell, s.seq, v.text AS verb, d.text AS detail, p.text AS position,
       s.start_seconds, s.seconds, s.error, e.code, e.signal, e.timed_out, e.stdout, e.stderr, e.cpu_seconds, e.peak_memory
FROM step s
JOIN cell c ON c.id = s.cell JOIN run r ON r.id = c.run JOIN word n ON n.id = c.name
JOIN word v ON v.id = s.verb JOIN word d ON d.id = s.detail JOIN word p ON p.id = s.position
LEFT JOIN exec e ON e.cell = s.cell AND e.step = s.seq;

CREATE VIEW changes AS
SELECT h.cell AS cell_id, r.name AS run, s.text AS script, j.text AS subject, g.os, g.version, g.version_key,
       h.diff, h.kind, k.text AS key, h.op, b.text AS before, a.text AS after, f.text AS fields, x.text AS text, o.text AS fold
FROM change h
JOIN cell c ON c.id = h.cell JOIN run r ON r.id = c.run JOIN word s ON s.id = c.script JOIN word j ON j.id = c.subject
JOIN target g ON g.id = c.target JOIN word k ON k.id = h.key
LEFT JOIN word b ON b.id = h.before LEFT JOIN word a ON a.id = h.after LEFT JOIN word f ON f.id = h.fields
LEFT JOIN word x ON x.id = h.text LEFT JOIN word o ON o.id = h.fold;

CREATE VIEW grades AS
SELECT q.cell AS cell_id, r.name AS run, c.started, s.text AS script, t.text AS test, j.text AS subject,
       g.os, g.version, g.version_key, g.driver, p.text AS policy, q.letter, q.score, q.verdict, a.text AS caps
FROM grade q
JOIN cell c ON c.id = q.cell JOIN run r ON r.id = c.run JOIN word s ON s.id = c.script JOIN word t ON t.id = c.test
JOIN word j ON j.id = q.subject JOIN target g ON g.id = c.target JOIN word p ON p.id = q.policy
LEFT JOIN word a ON a.id = q.caps;

CREATE VIEW axes AS
SELECT x.cell AS cell_id, r.name AS run, c.started, s.text AS script, t.text AS test, j.text AS subject,
       g.os, g.version, g.version_key, g.driver, x.name AS axis, x.score, x.weight
FROM axis x
JOIN grade q ON q.cell = x.cell AND q.id = x.grade
JOIN cell c ON c.id = x.cell JOIN run r ON r.id = c.run JOIN word s ON s.id = c.script JOIN word t ON t.id = c.test
JOIN word j ON j.id = q.subject JOIN target g ON g.id = c.target;

CREATE VIEW findings AS
SELECT f.cell AS cell_id, r.name AS run, c.started, s.text AS script, t.text AS test, j.text AS subject,
       g.os, g.version, g.version_key, g.driver, u.text AS rule, f.severity, f.axis, f.points, m.text AS message,
       (SELECT group_concat(e.kind || ' ' || k.text, '; ') FROM evidence e JOIN word k ON k.id = e.key
        WHERE e.cell = f.cell AND e.grade = f.grade AND e.finding = f.seq) AS evidence,
       d.text AS recommendation, f.attack, w.text AS waived
FROM finding f
JOIN grade q ON q.cell = f.cell AND q.id = f.grade
JOIN cell c ON c.id = f.cell JOIN run r ON r.id = c.run JOIN word s ON s.id = c.script JOIN word t ON t.id = c.test
JOIN word j ON j.id = q.subject JOIN target g ON g.id = c.target
JOIN word u ON u.id = f.rule JOIN word m ON m.id = f.message JOIN word d ON d.id = f.recommendation
LEFT JOIN word w ON w.id = f.waived;

CREATE VIEW checks AS
SELECT k.cell AS cell_id, r.name AS run, n.text AS cell, k.step, k.ok, m.text AS message
FROM checked k
JOIN cell c ON c.id = k.cell JOIN run r ON r.id = c.run JOIN word n ON n.id = c.name JOIN word m ON m.id = k.message;

-- ---------------------------------------------------------------- views: the questions

-- trend: how did each test fare, by OS version and over time? One row for each
-- grade of a finished cell. A test that grades nothing scores 100 when it passed
-- and 0 when it failed; a cell that broke (error, skip) has no score.
CREATE VIEW trend AS
SELECT s.text AS script, t.text AS test, v.text AS variant, j.text AS subject,
       g.os, g.version, g.version_key, g.arch, g.driver,
       r.name AS run, c.started, c.verdict, q.letter,
       CASE WHEN q.letter <> '-' THEN q.score WHEN q.letter IS NULL THEN
         CASE c.verdict WHEN 'pass' THEN 100.0 WHEN 'warn' THEN 100.0 WHEN 'fail' THEN 0.0 END
       END AS score,
       CASE WHEN q.id IS NOT NULL THEN
         (SELECT count(*) FROM finding f WHERE f.cell = q.cell AND f.grade = q.id AND f.waived IS NULL)
       END AS findings,
       c.seconds,
       (SELECT m.boot_seconds FROM machine m WHERE m.cell = c.id AND m.seq = 0) AS boot_seconds,
       c.id AS cell_id, q.id AS grade
FROM cell c
JOIN run r ON r.id = c.run
JOIN target g ON g.id = c.target
JOIN word s ON s.id = c.script JOIN word t ON t.id = c.test JOIN word v ON v.id = c.variant
LEFT JOIN grade q ON q.cell = c.id
JOIN word j ON j.id = coalesce(q.subject, c.subject)
WHERE c.verdict IS NOT NULL AND c.started IS NOT NULL;

-- latest: the newest row of trend for each test, subject and place.
CREATE VIEW latest AS
SELECT script, test, variant, subject, os, version, version_key, arch, driver, run, started, verdict, letter, score,
       findings, seconds, boot_seconds, cell_id, grade
FROM (
  SELECT *, row_number() OVER (PARTITION BY script, test, variant, subject, os, version_key, version, arch, driver
                               ORDER BY started DESC, cell_id DESC) AS age
  FROM trend)
WHERE age = 1;

-- sightings: every change and every finding as one row. A finding has the kind
-- 'finding', its rule as key and its severity as op.
CREATE VIEW sightings AS
SELECT h.cell AS cell_id, h.kind, k.text AS key, h.op FROM change h JOIN word k ON k.id = h.key
UNION ALL
SELECT f.cell, 'finding', k.text, f.severity FROM finding f JOIN word k ON k.id = f.rule WHERE f.waived IS NULL;

-- first_seen: since when does it do that? The lowest OS version and the earliest
-- run in which a change or finding appeared, for each script, test and subject.
CREATE VIEW first_seen AS
SELECT x.script, x.test, x.subject, x.os, x.kind, x.key, x.op,
       (SELECT g.version FROM target g WHERE g.os = x.os AND g.version_key = x.first_key) AS first_version,
       x.first_run, x.first_started, x.versions, x.cells
FROM (
  SELECT c.script, c.test, c.subject, c.os, i.kind, i.key, i.op, min(c.version_key) AS first_key, min(c.run) AS first_run,
         min(c.started) AS first_started, count(DISTINCT c.version_key) AS versions, count(DISTINCT c.cell_id) AS cells
  FROM cells c JOIN sightings i ON i.cell_id = c.cell_id
  GROUP BY c.script, c.test, c.subject, c.os, i.kind, i.key, i.op) x;

-- new_since: what does it do on an OS version that it did not do on the version
-- before? Compares the newest cells of neighbouring versions that were judged.
CREATE VIEW new_since AS
WITH judged AS (
  SELECT c.*, row_number() OVER (PARTITION BY c.script, c.test, c.variant, c.subject, c.target
                                 ORDER BY c.started DESC, c.id DESC) AS age
  FROM cell c WHERE c.verdict IN ('pass', 'warn', 'fail')),
pair AS (
  SELECT j.id, j.run, j.script, j.test, j.variant, j.subject, g.os, g.version, g.version_key, g.arch, g.driver,
         lag(j.id) OVER w AS previous_id, lag(g.version) OVER w AS previous
  FROM judged j JOIN target g ON g.id = j.target
  WHERE j.age = 1
  WINDOW w AS (PARTITION BY j.script, j.test, j.variant, j.subject, g.os, g.arch, g.driver ORDER BY g.version_key, g.version)),
fresh AS (
  SELECT p.id, h.kind, h.key, h.op
  FROM pair p JOIN change h ON h.cell = p.id
  WHERE NOT EXISTS (SELECT 1 FROM change b WHERE b.key = h.key AND b.cell = p.previous_id AND b.kind = h.kind AND b.op = h.op)
  UNION
  SELECT p.id, 'finding', f.rule, f.severity
  FROM pair p JOIN finding f ON f.cell = p.id AND f.waived IS NULL
  WHERE NOT EXISTS (SELECT 1 FROM finding b WHERE b.rule = f.rule AND b.cell = p.previous_id AND b.waived IS NULL))
SELECT s.text AS script, t.text AS test, v.text AS variant, j.text AS subject, p.os, p.version, p.version_key, p.previous,
       p.arch, p.driver, f.kind, k.text AS key, f.op, r.name AS run, p.id AS cell_id
FROM pair p JOIN fresh f ON f.id = p.id JOIN run r ON r.id = p.run
JOIN word s ON s.id = p.script JOIN word t ON t.id = p.test JOIN word v ON v.id = p.variant
JOIN word j ON j.id = p.subject JOIN word k ON k.id = f.key
WHERE p.previous_id IS NOT NULL;

-- flips: where did the verdict change from one run to the next? Cells that broke
-- on our side (error) or were skipped say nothing about the subject and are left out.
CREATE VIEW flips AS
SELECT s.text AS script, t.text AS test, v.text AS variant, j.text AS subject, g.os, g.version, g.version_key, g.arch, g.driver,
       p.name AS previous_run, x.was, r.name AS run, x.verdict, x.started, x.id AS cell_id
FROM (
  SELECT c.*, lag(c.verdict) OVER w AS was, lag(c.run) OVER w AS previous
  FROM cell c WHERE c.verdict IN ('pass', 'warn', 'fail')
  WINDOW w AS (PARTITION BY c.script, c.test, c.variant, c.subject, c.target ORDER BY c.started, c.id)) x
JOIN run r ON r.id = x.run JOIN run p ON p.id = x.previous JOIN target g ON g.id = x.target
JOIN word s ON s.id = x.script JOIN word t ON t.id = x.test JOIN word v ON v.id = x.variant JOIN word j ON j.id = x.subject
WHERE x.was <> x.verdict;

-- findings_by_os: which rule speaks on which OS version, how often, and when last?
CREATE VIEW findings_by_os AS
SELECT rule, severity, axis, script, subject, os, version, version_key,
       count(DISTINCT cell_id) AS cells, min(started) AS first_started, max(started) AS last_started, max(run) AS last_run
FROM findings WHERE waived IS NULL
GROUP BY rule, severity, axis, script, subject, os, version_key, version;

-- slow_steps: where does the time go? share is the step's part of its cell.
CREATE VIEW slow_steps AS
SELECT s.run, s.cell, s.seq, s.verb, s.detail, s.position, s.seconds, s.seconds / nullif(c.seconds, 0) AS share
FROM steps s JOIN cell c ON c.id = s.cell_id
ORDER BY s.seconds DESC;
