/** The version in package.json, found both from `src/` and from `dist/src/`. */
import { readFileSync } from 'node:fs';
import { findPackageJSON } from 'node:module';

const path = findPackageJSON(import.meta.url);

export const VERSION: string = path ? JSON.parse(readFileSync(path, 'utf8')).version : 'unknown';
