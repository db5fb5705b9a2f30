#!/usr/bin/env node
// Node first: an older one cannot even link what the program imports, and says so with a SyntaxError. So nothing may be
// imported here before its version is known; package.json says the same in `engines`, which npm only warns of.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

if (major > 22 || (major === 22 && minor >= 19)) {
  await import('../src/cli/program.ts');
} else {
  process.stderr.write(`rowhook: Node ${process.versions.node} is too old: use Node 22.19 or later.\n`);
  process.exitCode = 1;
}
