-- An index of version 1 as the program of that version left it, without a clean stop. What only an index can know:
-- a flag that no file name shows yet (UID 1), a keyword without a letter (UID 3), MODSEQs, expunged UIDs.
BEGIN;
CREATE TABLE folders(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  dir TEXT NOT NULL UNIQUE,
  uidvalidity INTEGER NOT NULL,
  uidnext INTEGER NOT NULL,
  modseq INTEGER NOT NULL,
  recent_from INTEGER NOT NULL DEFAULT 1,
  messages INTEGER NOT NULL DEFAULT 0,
  unseen INTEGER NOT NULL DEFAULT 0,
  deleted INTEGER NOT NULL DEFAULT 0,
  recent INTEGER NOT NULL DEFAULT 0,
  size INTEGER NOT NULL DEFAULT 0,
  new_mtime INTEGER NOT NULL DEFAULT -1,
  new_young INTEGER NOT NULL DEFAULT 1,
  cur_mtime INTEGER NOT NULL DEFAULT -1,
  cur_young INTEGER NOT NULL DEFAULT 1,
  keywords TEXT NOT NULL DEFAULT '',
  special TEXT NOT NULL DEFAULT '');
CREATE TABLE messages(
  id INTEGER PRIMARY KEY, flags NOT NULL, modseq INTEGER NOT NULL, date INTEGER NOT NULL,
  wire INTEGER NOT NULL, dirty INTEGER NOT NULL, name TEXT NOT NULL);
CREATE INDEX dirty ON messages(id) WHERE dirty;
CREATE TABLE expunged(
  folder INTEGER NOT NULL, modseq INTEGER NOT NULL, uid INTEGER NOT NULL,
  PRIMARY KEY(folder, modseq, uid)) WITHOUT ROWID;
CREATE TABLE envelopes(id INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE structures(id INTEGER PRIMARY KEY, value BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE headers(id INTEGER PRIMARY KEY, value BLOB NOT NULL);
INSERT INTO folders(id, dir, uidvalidity, uidnext, modseq, recent_from, messages, unseen, size, keywords)
  VALUES (1, '', 1700000000, 5, 9, 5, 3, 2, 63,
    'k0
k1
k2
k3
k4
k5
k6
k7
k8
k9
k10
k11
k12
k13
k14
k15
k16
k17
k18
k19
k20
k21
k22
k23
k24
k25
k26');
INSERT INTO messages VALUES
  (4294967297, 8, 5, 1700000001, 21, 1, 'cur/1700000001.M1P1Q1.mx,S=18,W=21,I=1700000000-1:2,'),
  (4294967299, 2147483648, 7, 1700000003, 21, 0, 'cur/1700000003.M1P1Q3.mx,S=18,W=21,I=1700000000-3:2,'),
  (4294967300, 0, 4, 1700000004, 21, 0, 'new/1700000004.M1P1Q4.mx,S=18,W=21,I=1700000000-4');
INSERT INTO expunged VALUES (1, 9, 2);
INSERT INTO envelopes VALUES (4294967297, X'4B455054');
PRAGMA user_version = 1;
COMMIT;
