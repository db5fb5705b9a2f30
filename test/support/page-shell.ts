// A bash that runs the fences `sh` of a page as its reader would. It finds only the programs named here, so that a page that
// copies files or makes users changes nothing on this machine. Variables live from fence to fence.

import { execFile, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './port.ts';

const root = join(import.meta.dirname, '../..');
const program = join(root, 'bin/rowhook.ts');

/** Run for real. The first ones must be on the machine. */
export const NEEDED = ['bash', 'psql', 'curl', 'openssl', 'jq'];
const REAL = [
  ...NEEDED,
  ...[
    'cat',
    'date',
    'dirname',
    'env',
    'head',
    'jq',
    'mktemp',
    'printf',
    'sed',
    'sleep',
    'sort',
    'tail',
    'tr',
    'wc',
    'xargs',
    'awk',
    'base64',
  ],
];
/** Taken as run: they need another machine, or change this one. They print nothing. */
const TAKEN_AS_RUN = [
  ...[
    'npm',
    'git',
    'node',
    'docker',
    'helm',
    'kubectl',
    'systemctl',
    'journalctl',
    'systemd-analyze',
    'loginctl',
    'sudo',
    'su',
  ],
  ...[
    'apt',
    'apt-get',
    'useradd',
    'adduser',
    'install',
    'cp',
    'mv',
    'rm',
    'mkdir',
    'chmod',
    'chown',
    'tee',
    'tar',
    'top',
    'pg_ctl',
  ],
  ...[
    'createdb',
    'dropdb',
    'aws',
    'gcloud',
    'az',
    'fly',
    'promtool',
    'diff',
    'python3',
    'php',
    'ruby',
    'go',
    'open',
    'vi',
    'xdg-open',
  ],
];
const fenceMs = 120_000;

/** Commands that go on until somebody stops them, and what they print when they are ready. */
const LASTING = `
case "$1 $*" in
  'start '*) ready='now delivering lanes' ;;
  'serve '*) ready='"port":' ;;
  'listen '*) ready='Listening on' ;;
  *' --follow'*|*' --watch'*) ready= ;;
  *) ready=no ;;
esac
case " $* " in *' --help '*) ready=no ;; *' --json '*) [ "$ready" = no ] || ready= ;; esac
`;

export interface PageShellOptions {
  /** Of the page's database. */
  url: string;
  /** Whether the server has pg_dump's version or an older one. */
  canDump: boolean;
}

export class PageShell {
  private readonly folder: string;
  private readonly url: string;
  private readonly ports: Readonly<Record<string, number>>;

  private constructor(folder: string, url: string, ports: Readonly<Record<string, number>>) {
    this.folder = folder;
    this.url = url;
    this.ports = ports;
  }

  /** Of `/metrics` and the checks of a daemon. */
  get httpPort(): number {
    return this.ports['9464'] as number;
  }

  static async open({ url, canDump }: PageShellOptions): Promise<PageShell> {
    const folder = await mkdtemp(join(tmpdir(), 'rowhook-page-'));
    const bin = join(folder, 'bin');
    await mkdir(bin);
    await mkdir(join(folder, 'node_modules'));
    await symlink(root, join(folder, 'node_modules/rowhook'));
    for (const name of ['sql', 'deploy', 'examples']) await symlink(join(root, name), join(folder, name));
    const ports = Object.fromEntries(
      await Promise.all(['3000', '8080', '9464', '9465'].map(async (port) => [port, await freePort()])),
    );
    const script = (name: string, text: string) =>
      writeFile(join(bin, name), `#!/bin/bash\n${text}\n`, { mode: 0o755 });
    const link = async (name: string) => {
      const found = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim();
      if (found.startsWith('/')) await script(name, `PATH='${process.env.PATH}' exec ${found} "$@"`);
    };
    await script('rowhook', rowhookScript(folder, ports['3000']));
    await script(
      'npx',
      `while [ "\${1#-}" != "$1" ]; do shift; done\n[ "$1" = rowhook ] || { echo "npx $1 is not rowhook" >&2; exit 1; }\nexec "$@"`,
    );
    await script('grep', 'export PATH=/usr/bin:/bin; grep "$@" 2>/dev/null || true'); // what it looks for is on another machine
    for (const name of TAKEN_AS_RUN) await script(name, '[ ! -p /dev/stdin ] || cat > /dev/null');
    for (const name of REAL) await link(name);
    for (const name of ['pg_dump', 'pg_restore']) await (canDump ? link(name) : script(name, 'exit 0'));
    return new PageShell(folder, url, ports);
  }

  /** Runs a fence, as the login that `url` names. Fails as soon as one of its commands does. */
  async run(text: string, url = this.url): Promise<void> {
    const script = this.here(text);
    if (/>\s*["']?\//.test(script.replaceAll(/>\s*\/dev\/null/g, '')))
      throw new Error('A page that writes outside of its folder: print it, or use sudo tee.');
    const state = join(this.folder, 'state');
    const whole = [
      `[ ! -e '${state}' ] || . '${state}'`,
      `export DATABASE_URL='${url}'`,
      'cd() { :; }; set -aeuo pipefail',
      script,
      'unset -v DATABASE_URL; unset -f cd',
      `export -p > '${state}'`,
    ].join('\n');
    const env = {
      ...{
        PATH: join(this.folder, 'bin'),
        HOME: this.folder,
        LANG: 'C.UTF-8',
        ROWHOOK_HTTP_PORT: String(this.httpPort),
      },
      ...{ ROWHOOK_API_PORT: String(this.ports['8080']), ROWHOOK_API_METRICS_PORT: String(this.ports['9465']) },
    };
    await rm(join(this.folder, 'stderr'), { force: true });
    const { error, output } = await bash(whole, this.folder, env);
    const said = await readFile(join(this.folder, 'stderr'), 'utf8').catch(() => '');
    if (error || said) throw new Error(`${error?.message ?? 'It wrote to stderr.'}\n${output}\n${said}`);
  }

  /** Whether the page has started this command of rowhook, and not stopped it. */
  async isRunning(command: string): Promise<boolean> {
    const running = await readFile(join(this.folder, 'running'), 'utf8').catch(() => '');
    return running.split('\n').some((line) => line.endsWith(` ${command}`));
  }

  /** Ends what goes on, as Ctrl-C does: all of it, or one command of rowhook. */
  async stop(command = ''): Promise<void> {
    const lines = (await readFile(join(this.folder, 'running'), 'utf8').catch(() => '')).split('\n').filter(Boolean);
    for (const line of lines) {
      const [pid, name] = line.split(' ');
      if (command !== '' && command !== name) continue;
      spawnSync('bash', [
        '-c',
        `kill -INT ${pid}; for i in {1..150}; do kill -0 ${pid} || exit; sleep 0.1; done; kill -9 ${pid}`,
      ]);
    }
    const left = lines.filter((line) => command !== '' && line.split(' ')[1] !== command);
    await writeFile(join(this.folder, 'running'), left.map((line) => `${line}\n`).join(''));
  }

  async close(): Promise<void> {
    await this.stop();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** The text with the ports and the server of this test in it. */
  private here(text: string): string {
    const { host, username, password } = new URL(this.url);
    return text
      .replaceAll(/\S*\/\.bin\/(?=rowhook\b)|\/usr\/bin\/(?=node\b)/g, '')
      .replaceAll(/\b(localhost|127\.0\.0\.1):(\d{4})\b/g, (whole, name, port) =>
        port in this.ports ? `${name === 'localhost' ? '127.0.0.1' : name}:${this.ports[port]}` : whole,
      )
      .replaceAll(
        /(postgres(?:ql)?:\/\/)(?:(\w+):[^@\s'"]+|(\w+))@db\.example\.com(?::5432)?\/(\w+)(\?[^\s'"]*)?/g,
        (_, scheme, withPassword, bare, name) => {
          const user = withPassword ?? bare;
          const login = ['owner', 'postgres'].includes(user) ? `${username}:${password}` : `${user}:${PASSWORD}`;
          return `${scheme}${login}@${host}/${name}`;
        },
      );
  }
}

/** The logins of a page are given this one, whatever the page says. */
export const PASSWORD = 'secret';

/** The logins in the connection strings of a fence. */
export const loginsIn = (text: string) =>
  [...text.matchAll(/postgres(?:ql)?:\/\/(\w+)(?::[^@\s'"]+)?@/g)].map(([, login = '']) => login);

function rowhookScript(folder: string, listenPort: number | undefined): string {
  return `
${LASTING}
[ "$1" != listen ] || [[ " $* " = *' --port '* ]] || set -- "$@" --port ${listenPort}
run() { PATH='${process.env.PATH}' NODE_COMPILE_CACHE='${process.env.NODE_COMPILE_CACHE ?? ''}' exec '${process.execPath}' '${program}' "$@"; }
if [ "$ready" = no ]; then
  (run "$@" 2>>'${folder}/stderr'); code=$?
  # these two end with 1 when they have found something
  case "$1 $code" in 'doctor 1'|'why 1') code=0 ;; esac
  exit $code
fi
out='${folder}'/out.$$
(run "$@" > "$out" 2>&1 < /dev/null) & pid=$!
echo "$pid $1" >> '${folder}/running'
[ -n "$ready" ] || exit 0
PATH=/usr/bin:/bin
until grep -q "$ready" "$out"; do
  kill -0 $pid 2> /dev/null || { cat "$out" >&2; exit 1; }
  sleep 0.1
done`;
}

function bash(
  script: string,
  cwd: string,
  env: Record<string, string>,
): Promise<{ error: Error | null; output: string }> {
  const options = { cwd, env, timeout: fenceMs, maxBuffer: 16 * 1024 * 1024 };
  return new Promise((resolve) => {
    const child = execFile('/bin/bash', ['-c', script], options, (error, stdout, stderr) =>
      resolve({ error: error && new Error(`exit code ${error.code ?? error.signal}`), output: stdout + stderr }),
    );
    child.stdin?.end();
  });
}
