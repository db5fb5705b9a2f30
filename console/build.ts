/** `npm run build`: puts the console into the package. It is built only if a source is newer. */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { CONSOLE_FOLDER } from '../src/api/sessions/console.ts';
import { buildConsole } from '../src/demo/console.ts';

if (!(await buildConsole())) throw new Error('The console could not be built: Vite is not installed. Run npm ci.');
cpSync(CONSOLE_FOLDER, join(import.meta.dirname, '../dist/console'), { recursive: true });
