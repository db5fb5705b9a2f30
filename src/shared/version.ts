/** Facts of package.json, found both from `src/` and from `dist/src/`. */
import { readFileSync } from 'node:fs';
import { findPackageJSON } from 'node:module';

const path = findPackageJSON(import.meta.url);
const facts: { version?: string; bugs?: string } = path ? JSON.parse(readFileSync(path, 'utf8')) : {};

export const VERSION = facts.version ?? 'unknown';

/** Where users report bugs. */
export const BUGS_URL = facts.bugs ?? 'https://github.com/rowhook/rowhook/issues';
