// A remedy that nobody has run in its state is a guess: this table names the test that runs it. One that is added without a line
// here fails.

import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

// Why no test runs it.
const LOOKS = 'a command that changes nothing';
const CHOICE = 'names what is to be done; how, only the reader knows';
const CLOCK = 'sets the clock of the whole machine, under all that runs on it';
const RELEASE = 'needs a release that there is not yet, and a registry that has it';
const SERVER = 'needs another release of PostgreSQL than those of the tests';
const REASONS = [LOOKS, CHOICE, CLOCK, RELEASE, SERVER];
const DOCTOR = 'test/doctor/doctor.test.ts: ';
const REMEDIES = 'test/doctor/remedies.test.ts: ';
const WEBHOOKS = 'test/doctor/webhooks.test.ts: ';
const REPLACED = 'test/capture/replaced-tables.test.ts: ';
const QUEUE = 'test/daemon/notify-queue.test.ts: ';
const WHY = 'test/cli/why.test.ts: ';
const READ_ONLY = 'test/database/read-only.test.ts: ';
const INBOUND = 'test/inbound/state.test.ts: the doctor warns of what waits for a day, and of what failed';
const LOG_DAYS = 'test/record/log-days.test.ts: everything is recorded while an event trigger forbids DDL';

/** In the order of the file: how the remedy begins there, and the test that runs it. */
const RUN_BY: Readonly<Record<string, readonly (readonly [remedy: string, test: string])[]>> = {
  'src/capture/muted-sessions.ts': [
    ['whose === null', `${DOCTOR}a server on which no trigger fires`],
    ['printable(`rowhook watch', `${REMEDIES}is what a subscription fills`],
  ],
  'src/capture/pinned-slots.ts': [
    ["'select rowhook._recycle_slot();'", `${DOCTOR}that nobody holds`],
    ['startRemedy', `${REMEDIES}nobody delivers, and a slot waits for it`],
    ["'rowhook status --watch", `${DOCTOR}one that a lane has not read`],
    ['`select pg_terminate_backend', `${DOCTOR}that a transaction locks`],
    ['`rollback prepared', `${DOCTOR}that a transaction locks`],
  ],
  'src/capture/source-problems.ts': [
    ['`select rowhook.unwatch', `${REMEDIES}was dropped`],
    ['mayTakePlace ? RECONCILE', `${REMEDIES}is now another table`],
    ['printable(`', `${REMEDIES}has lost its column tenant_id`],
    ['printable(`', `${REMEDIES}has lost it's, from which events are derived`],
    ['printable(`', 'test/capture/excluded-columns.test.ts: the tenant or a key that is excluded later'],
    ['printable(`', 'test/capture/excluded-columns.test.ts: the tenant or a key that is excluded later'],
    ['`', `${REMEDIES}a foreign partition of a partition`],
  ],
  'src/capture/trigger-problems.ts': [
    ['RECONCILE', `${REMEDIES}lacks rowhook_insert`],
    ['triggers.map', `${REMEDIES}rowhook_update is disabled`],
  ],
  'src/config/environment.ts': [['`if it is not a copy, set', 'test/cli/adopt.test.ts: recorded %j, the variable %j']],
  'src/database/read-only.ts': [
    ['printable(fix)', `${READ_ONLY}a running daemon says so on /readyz`],
    ['inReadWrite(`alter', `${READ_ONLY}whose it is: a role, a role in a database`],
    ['`remove ', `${READ_ONLY}whose it is: a role, a role in a database, one connection`],
    ['`remove SET', CHOICE],
    ['`alter system', `${READ_ONLY}its file`],
    ['inReadWrite(`alter database', `${READ_ONLY}its command line, which ALTER SYSTEM does not change`],
  ],
  'src/database/row-security.ts': [
    ["'rowhook migrate #", 'test/database/row-security.test.ts: row-level security that was switched off'],
    ["'restore the dump again", CHOICE],
  ],
  'src/database/schema-owner.ts': [
    ['printable(`', 'test/database/schema-owner.test.ts: what the doctor says gives it back'],
  ],
  'src/doctor/checks.ts': [
    ["'end the session", 'test/docs/runbook.test.ts: who blocks the daemon is named by the doctor'],
    ['await remedyOfUnseen', 'test/database/membership.test.ts: has that statement as its remedy'],
  ],
  'src/doctor/checks/capture-cost.ts': [['printable(`', `${REMEDIES}what capture costs much`]],
  'src/doctor/checks/clock.ts': [["'timedatectl", CLOCK]],
  'src/doctor/checks/daemons.ts': [
    ['startRemedy', `${REMEDIES}nobody delivers, and a slot waits for it`],
    ['`look into the log', CHOICE],
    ['printable(', LOOKS],
  ],
  'src/doctor/checks/events.ts': [
    ["'rowhook webhook list'", `${REPLACED}an active webhook that asks for what nothing produces`],
    ['near === null', `${REPLACED}an active webhook that asks for what nothing produces`],
    ['`rowhook webhook show', 'test/capture/unknown-filter-columns.test.ts: the doctor names them too'],
    ['printable(statement)', `${REPLACED}two tables with the same event types`],
    ['printable( `', `${REPLACED}rows without a tenant are no events`],
  ],
  'src/doctor/checks/log-days.ts': [
    ['printable(around(', LOG_DAYS],
    ['printable(around(', LOG_DAYS],
  ],
  'src/doctor/checks/notifications.ts': [
    ["'give the daemon a DATABASE_URL", `${DOCTOR}in %s mode`],
    ["'end the session", `${QUEUE}is the finding of the doctor`],
    ['"end the process', CHOICE],
    ['`select pg_terminate_backend', `${QUEUE}is the finding of the doctor`],
  ],
  'src/doctor/checks/privileges.ts': [
    ['grant(uninherited', `${DOCTOR}a login that is nobody`],
    ['rows.map(grant)', `${DOCTOR}what was revoked from rowhook_daemon`],
    ["'create role rowhook_login", `${REMEDIES}a daemon that may do anything`],
    ["'create role rowhook_api_login", `${REMEDIES}an API that could bypass row-level security`],
  ],
  'src/doctor/checks/schema.ts': [
    ['grant(uninherited', `${DOCTOR}a login that is nobody`],
    ["'npm install", RELEASE],
    ["'rowhook migrate'", `${REMEDIES}rowhook is not installed`],
  ],
  'src/doctor/checks/server.ts': [
    ["'name the primary", `${DOCTOR}a hot standby`],
    ["'upgrade the server", SERVER],
    ["'install the current minor", SERVER],
  ],
  'src/doctor/checks/transactions.ts': [
    ['`select pg_terminate_backend', `${DOCTOR}one that stays open`],
    ['`grant pg_read_all_stats', `${REMEDIES}transactions that may not be seen`],
    ['`rollback prepared', `${DOCTOR}one that was prepared and forgotten`],
    ['`select pg_terminate_backend', 'test/docs/runbook.test.ts: who blocks the daemon is named by the doctor'],
  ],
  'src/doctor/checks/triggers.ts': [['"select * from rowhook.watch_preset', `${REMEDIES}no table is watched`]],
  'src/doctor/checks/webhooks.ts': [
    ['`rowhook webhook enable', `${WEBHOOKS}a webhook that rowhook disabled`],
    ['lookAndEnable', `${WEBHOOKS}an open breaker`],
    ['lookAndEnable', `${WEBHOOKS}a webhook that fails all the time`],
    ['`rowhook status --limit', `${WEBHOOKS}of 10,000 webhooks that fail`],
  ],
  'src/doctor/crowded-tenants.ts': [
    ['printable(statement)', 'test/tenants/crowded.test.ts: the doctor has the remedy'],
  ],
  'src/doctor/excluded-columns.ts': [
    [
      'remedyOf(statement)',
      'test/capture/excluded-columns.test.ts: a key that looks like a credential, and its statement ends that',
    ],
  ],
  'src/doctor/inbound-events.ts': [
    ["'rowhook inbound events --status received", INBOUND],
    ["'rowhook inbound events --status failed", INBOUND],
  ],
  'src/doctor/printing.ts': [
    ['printable(grants)', 'test/capture/refusals.test.ts: the doctor names the columns and what to grant'],
    [
      '"let rowhook_owner do',
      'test/capture/refusals.test.ts: may not run makes the event thin, and a grant makes it whole',
    ],
  ],
  'src/operations/status.ts': [['readOnly.fix', `${READ_ONLY}a running daemon says so on /readyz`]],
  'src/operations/why/changes.ts': [['fixFor(', `${WHY}the remedies enable it, and send what it missed`]],
  'src/operations/why/refused.ts': [['`rowhook replay --delivery', `${WHY}a URL that the daemon refuses`]],
  'src/operations/why/source.ts': [
    ['whyCommand', `${WHY}that another schema has too`],
    ["'rowhook doctor ", LOOKS],
    ['replaced.fix', `${WHY}took the place of a watched one: the remedy keeps the settings`],
    ['`rowhook watch', `${WHY}has odd names`],
    ["'rowhook doctor'", LOOKS],
    ["'select * from rowhook.reconcile();'", `${WHY}%s: the remedy mends it`],
    ['`alter table', `${WHY}%s: the remedy mends it`],
    ['result.fix', `${DOCTOR}a database or a role whose sessions fire no triggers`],
  ],
  'src/operations/why/tenant.ts': [
    ['`run "rowhook why" with a', `${WHY}that this role may not read`],
    ['printable(fix)', `${WHY}that this role may not read`],
    ['`update ', `${WHY}whose tenant is null`],
    ['`rowhook webhook list', LOOKS],
    ['`rowhook webhook show', LOOKS],
    ['`rowhook webhook update', `${WHY}wants other events`],
    ['`rowhook webhook enable', `${WHY}the remedies enable it`],
    ['`rowhook webhook create', `${WHY}none has the tenant`],
  ],
  'src/operations/why/why.ts': [['startRemedy', `${WHY}no daemon runs`]],
};

/** What follows each `fix:` that is given a value, on one line. */
function remediesIn(file: string): string[] {
  const text = read(file)
    .replace(/^ *(?:\/\/|\*|\/\*\*).*$/gm, '')
    .replaceAll(/\s+/g, ' ');
  return [...text.matchAll(/\bfix(?: =|\??:) (?!string\b)(.{1,60})/g)].map(([, remedy = '']) => remedy);
}

const files = globSync('src/{capture,config,database,doctor,operations}/**/*.ts', { cwd: root }).sort();

test('every file with a remedy has its line', () => {
  expect(files.filter((file) => remediesIn(file).length > 0)).toEqual(Object.keys(RUN_BY).sort());
});

test.each(Object.entries(RUN_BY))('%s', (file, expected) => {
  const found = remediesIn(file);
  expect(found).toEqual(expected.map(([remedy], i) => (found[i]?.startsWith(remedy) ? found[i] : remedy)));
  for (const [, where] of expected.filter(([, runBy]) => !REASONS.includes(runBy))) {
    const [, testFile = '', title = ''] = /^(\S+): (.*)$/.exec(where) ?? [];
    expect(read(testFile), where).toContain(title);
  }
});
