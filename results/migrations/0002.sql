-- Noise: what machines that did nothing did all the same.

-- A change that was left out of a diff because idle machines of the image make it as well.
CREATE TABLE noise_change (
  cell     INTEGER NOT NULL,
  diff     INTEGER NOT NULL,
  seq      INTEGER NOT NULL,
  kind     TEXT NOT NULL,                           -- as in change
  key      INTEGER NOT NULL REFERENCES word,
  op       TEXT NOT NULL,
  before   INTEGER REFERENCES word,
  after    INTEGER REFERENCES word,
  fields   INTEGER REFERENCES word,
  text     INTEGER REFERENCES word,
  fold     INTEGER REFERENCES word,
  seen     INTEGER NOT NULL,                        -- in so many placebos
  placebos INTEGER NOT NULL,                        -- of so many that lasted as long
  PRIMARY KEY (cell, diff, seq),
  FOREIGN KEY (cell, diff) REFERENCES diff ON DELETE CASCADE
) WITHOUT ROWID;

-- A machine that did nothing: the twin of one under test, or one made to find out.
CREATE TABLE placebo (
  cell    INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
  seq     INTEGER NOT NULL,
  image   INTEGER NOT NULL REFERENCES word,         -- digest
  scope   INTEGER REFERENCES word,                  -- NULL: it was as launched; else what it was made into: counts for the same only
  seconds REAL NOT NULL,                            -- between the two looks at it
  PRIMARY KEY (cell, seq)
) WITHOUT ROWID;
CREATE INDEX placebo_by_image ON placebo (image, cell);

-- What changed in it all the same.
CREATE TABLE placebo_change (
  cell    INTEGER NOT NULL,
  placebo INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  kind    TEXT NOT NULL,                            -- as in change
  key     INTEGER NOT NULL REFERENCES word,
  op      TEXT NOT NULL,
  before  INTEGER REFERENCES word,
  after   INTEGER REFERENCES word,
  fields  INTEGER REFERENCES word,
  text    INTEGER REFERENCES word,
  fold    INTEGER REFERENCES word,
  PRIMARY KEY (cell, placebo, seq),
  FOREIGN KEY (cell, placebo) REFERENCES placebo ON DELETE CASCADE
) WITHOUT ROWID;

CREATE VIEW placebos AS
SELECT p.cell AS cell_id, r.name AS run, c.started, i.text AS image, d.text AS image_digest, s.text AS scope, p.seconds,
       (SELECT count(*) FROM placebo_change h WHERE h.cell = p.cell AND h.placebo = p.seq) AS changes
FROM placebo p JOIN cell c ON c.id = p.cell JOIN run r ON r.id = c.run JOIN word i ON i.id = c.image
JOIN word d ON d.id = p.image LEFT JOIN word s ON s.id = p.scope;

CREATE VIEW left_out AS
SELECT h.cell AS cell_id, r.name AS run, s.text AS script, g.os, g.version, g.version_key,
       h.diff, h.kind, k.text AS key, h.op, h.seen, h.placebos
FROM noise_change h
JOIN cell c ON c.id = h.cell JOIN run r ON r.id = c.run JOIN word s ON s.id = c.script
JOIN target g ON g.id = c.target JOIN word k ON k.id = h.key;

-- noise: what do machines of an image do by themselves, and how often? Names that
-- are made up anew each time are not levelled out here; "assay noise" does that.
CREATE VIEW noise AS
SELECT x.image, x.image_digest, h.kind, k.text AS key, h.op, count(DISTINCT h.cell || ' ' || h.placebo) AS seen,
       (SELECT count(*) FROM placebos y WHERE y.image_digest = x.image_digest AND y.scope IS NULL) AS placebos,
       min(p.seconds) AS shortest, max(p.seconds) AS longest, max(x.started) AS last_started
FROM placebo_change h JOIN placebo p ON p.cell = h.cell AND p.seq = h.placebo
JOIN (SELECT DISTINCT cell_id, image, image_digest, started FROM placebos) x ON x.cell_id = p.cell
JOIN word d ON d.id = p.image AND d.text = x.image_digest JOIN word k ON k.id = h.key
WHERE p.scope IS NULL
GROUP BY x.image, x.image_digest, h.kind, h.key, h.op;
