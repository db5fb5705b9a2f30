#!/usr/bin/env node
// Checks the version of Node first. An older Node fails with a SyntaxError when it links the
// program's imports, so nothing may be imported before this check. npm only warns about `engines` of
// package.json.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

if (major > 22 || (major === 22 && minor >= 19)) {
  if (process.argv[2] === 'start') {
    const { limitHeap } = await import('../src/shared/heap-limit.ts');
    limitHeap(process);
  }
  const { main } = await import('../src/cli/program.ts');
  await main(process.argv.slice(2), process);
} else {
  process.stderr.write(`rowhook: Node ${process.versions.node} is too old. Use Node 22.19 or later.\n`);
  process.exitCode = 1;
}
