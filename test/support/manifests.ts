// Kubernetes manifests, held to the API's schema without a cluster.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { runTool } from './tool.ts';

const root = join(import.meta.dirname, '../..');

// Manifests are read by path, as what they are: data of many shapes.
export type Manifest = {
  apiVersion: string;
  kind: string;
  metadata: { name: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  spec?: unknown;
};

/** All documents of a YAML stream; a duplicate key or another mistake of YAML's throws. */
export function manifestsOf(yaml: string): Manifest[] {
  return parseAllDocuments(yaml).flatMap((document) => {
    if (document.errors.length > 0) throw document.errors[0];
    const manifest = document.toJS();
    return manifest === null ? [] : [manifest];
  });
}

/** The value at a path such as `spec.template.spec.containers.0.image`; undefined where there is none. */
export function at(manifest: unknown, path: string): unknown {
  return path.split('.').reduce((value, key) => (value as Record<string, unknown> | undefined)?.[key], manifest);
}

/** Where the models of an API group are; each kind is a class with its JSON schema, and a type. */
function moduleOf(apiVersion: string): string {
  return apiVersion.startsWith('monitoring.coreos.com/')
    ? `@kubernetes-models/prometheus-operator/${apiVersion}`
    : `kubernetes-models/${apiVersion}`;
}

/**
 * What is wrong with these manifests; empty: nothing. The schema finds values that are missing or of the wrong type, and the
 * type, through the compiler, fields that there are not, which the schema lets pass as the API server's would not.
 */
export async function schemaProblems(manifests: readonly Manifest[]): Promise<string[]> {
  const problems: string[] = [];
  for (const manifest of manifests) {
    const models = await import(moduleOf(manifest.apiVersion));
    try {
      new models[manifest.kind](manifest).validate();
    } catch (error) {
      problems.push(`${manifest.kind} ${manifest.metadata.name}: ${(error as Error).message}`);
    }
  }
  // beside the packages, so that the compiler finds them
  const folder = await mkdtemp(join(root, 'node_modules/.manifests-'));
  try {
    const program = manifests.map(
      ({ apiVersion, kind, ...rest }, i) =>
        `import type { I${kind} as T${i} } from '${moduleOf(apiVersion)}';\nexport const m${i} = ${JSON.stringify({ apiVersion, kind, ...rest }, null, 1)} satisfies T${i};`,
    );
    await writeFile(join(folder, 'manifests.mts'), program.join('\n'));
    const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--ignoreConfig'];
    const { code, output } = await runTool(join(root, 'node_modules/.bin/tsc'), [
      ...options,
      join(folder, 'manifests.mts'),
    ]);
    if (code !== 0) problems.push(output);
  } finally {
    await rm(folder, { recursive: true });
  }
  return problems;
}
