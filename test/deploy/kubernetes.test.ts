// deploy/kubernetes and deploy/helm, as kubectl and helm render them, against the API's schema and our own promises. The base
// is also checked file by file, which needs neither tool. That a cluster runs it is beyond this.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import ipaddr from 'ipaddr.js';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { DRAIN_MS } from '../../src/daemon/session.ts';
import { specialRanges } from '../../src/deliver/special-ranges.ts';
import { VERSION } from '../../src/shared/version.ts';
import { at, type Manifest, manifestsOf, schemaProblems } from '../support/manifests.ts';
import { hasTool, runTool } from '../support/tool.ts';

const root = join(import.meta.dirname, '../..');
const base = join(root, 'deploy/kubernetes');
const chart = join(root, 'deploy/helm/rowhook');
const read = (...path: string[]) => readFile(join(...path), 'utf8');

async function render(tool: string, ...args: string[]): Promise<Manifest[]> {
  const { code, output } = await runTool(tool, args);
  expect(code, output).toBe(0);
  return manifestsOf(output);
}

const helm = (...args: string[]) => render('helm', 'template', 'rowhook', chart, '--kube-version', '1.30.0', ...args);

const only = (manifests: readonly Manifest[], kind: string): Manifest => {
  const found = manifests.filter((manifest) => manifest.kind === kind);
  expect(found.map(({ metadata }) => metadata.name)).toHaveLength(1);
  return found[0] as Manifest;
};

/** What holds for every rendering. */
async function expectPromises(manifests: Manifest[]): Promise<void> {
  expect(await schemaProblems(manifests)).toEqual([]);
  const [deployment, job] = [only(manifests, 'Deployment'), only(manifests, 'Job')];

  for (const workload of [deployment, job]) {
    const pod = at(workload, 'spec.template.spec');
    expect(pod).toMatchObject({
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    });
    expect(at(pod, 'containers.0.securityContext')).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(at(pod, 'containers.0.image')).toBe(`rowhook:${VERSION}`);
  }
  expect(at(job, 'spec.template.spec.containers.0.args')).toEqual(['migrate']);
  expect(at(deployment, 'spec.replicas')).toBeGreaterThan(1);
  expect(Number(at(deployment, 'spec.template.spec.terminationGracePeriodSeconds')) * 1_000).toBeGreaterThan(
    DRAIN_MS * 1.5,
  );
  const container = at(deployment, 'spec.template.spec.containers.0');
  expect([at(container, 'livenessProbe.httpGet.path'), at(container, 'readinessProbe.httpGet.path')]).toEqual([
    '/healthz',
    '/readyz',
  ]);

  // every selector finds the daemons' pods, and no others of the namespace
  const labels = at(deployment, 'spec.template.metadata.labels') as Record<string, string>;
  const selectors = [
    at(deployment, 'spec.selector.matchLabels'),
    at(only(manifests, 'Service'), 'spec.selector'),
    at(only(manifests, 'PodDisruptionBudget'), 'spec.selector.matchLabels'),
    at(only(manifests, 'NetworkPolicy'), 'spec.podSelector.matchLabels'),
  ] as Record<string, string>[];
  for (const selector of selectors) {
    expect(labels).toMatchObject(selector);
    expect(selector).toMatchObject({ 'app.kubernetes.io/name': 'rowhook' });
  }
  expectNoPrivateEgress(only(manifests, 'NetworkPolicy'));
}

interface Egress {
  to?: { ipBlock?: { cidr: string; except?: string[] } }[];
  ports?: { protocol: string; port?: number }[];
}

/** Whether a policy lets TCP go to an address and port. */
function allows(policy: Manifest, address: string, port: number): boolean {
  const parsed = ipaddr.parse(address);
  const isIn = (cidr: string) => {
    const [range, bits] = ipaddr.parseCIDR(cidr);
    return range.kind() === parsed.kind() && parsed.match(range, bits);
  };
  return (at(policy, 'spec.egress') as Egress[]).some(
    ({ to = [], ports = [] }) =>
      ports.some((one) => one.protocol === 'TCP' && (one.port ?? port) === port) &&
      to.some(({ ipBlock }) => ipBlock && isIn(ipBlock.cidr) && !ipBlock.except?.some(isIn)),
  );
}

function expectNoPrivateEgress(policy: Manifest): void {
  for (const { cidr } of specialRanges) expect(allows(policy, cidr.split('/')[0] as string, 443), cidr).toBe(false);
  for (const address of ['1.1.1.1', '93.184.216.34', '2606:4700::1111']) {
    expect(allows(policy, address, 443)).toBe(true);
    expect(allows(policy, address, 8443)).toBe(true);
  }
  expect(allows(policy, '10.1.2.3', 5432)).toBe(true);
  const dns = (at(policy, 'spec.egress') as Egress[])[0];
  expect(dns?.ports).toEqual([
    { protocol: 'UDP', port: 53 },
    { protocol: 'TCP', port: 53 },
  ]);
}

test('the files of the base are what the API takes', async () => {
  const { resources, images } = parse(await read(base, 'kustomization.yaml'));
  const files = await Promise.all(resources.map((file: string) => read(base, file)));
  const monitor = await read(base, 'components/service-monitor/servicemonitor.yaml');
  const manifests = manifestsOf([...files, monitor].join('\n---\n'));
  expect(manifests).toHaveLength(resources.length + 1);
  expect(await schemaProblems(manifests)).toEqual([]);
  expect(images).toEqual([{ name: 'rowhook', newTag: VERSION }]);
  // a probe comes from the node, to the pod's address
  const env = at(only(manifests, 'Deployment'), 'spec.template.spec.containers.0.env');
  expect(env).toEqual([{ name: 'ROWHOOK_HTTP_HOST', value: '::' }]);
});

test('the check finds what is wrong', async () => {
  const [service] = manifestsOf(await read(base, 'service.yaml')) as [Manifest];
  const spec = service.spec as Record<string, unknown>;
  expect((await schemaProblems([{ ...service, spec: { ...spec, ports: [{ port: 'x' }] } }])).join()).toContain(
    'integer',
  );
  expect((await schemaProblems([{ ...service, spec: { ...spec, selectr: {} } }])).join()).toContain('selectr');
});

test("the chart's version is the package's", async () => {
  expect(parse(await read(chart, 'Chart.yaml'))).toMatchObject({ version: VERSION, appVersion: VERSION });
});

describe.skipIf(!hasTool('kubectl', 'version', '--client'))('the Kustomize base', () => {
  test('renders to what we promise', async () => {
    const manifests = await render('kubectl', 'kustomize', base);
    await expectPromises(manifests);
    const settings = only(manifests, 'ConfigMap');
    const from = at(only(manifests, 'Deployment'), 'spec.template.spec.containers.0.envFrom.0.configMapRef.name');
    expect(from).toBe(settings.metadata.name);
  });

  test('has no Job and needs no secret of the owner with the component without-migrate', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'rowhook-overlay-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const to = (path: string) => relative(folder, join(base, path));
    const overlay = { resources: [to('.')], components: [to('components/without-migrate')] };
    await writeFile(join(folder, 'kustomization.yaml'), JSON.stringify(overlay));
    const [all, without] = [await render('kubectl', 'kustomize', base), await render('kubectl', 'kustomize', folder)];
    expect(all.filter(({ kind }) => kind !== 'Job')).toEqual(without);
    expect(JSON.stringify(all)).toContain('rowhook-owner');
    expect(JSON.stringify(without)).not.toContain('rowhook-owner');
  });
});

test('the notes of the chart name values and paths that there are', async () => {
  const notes = await read(chart, 'templates/NOTES.txt');
  const values = parse(await read(chart, 'values.yaml'));
  const named = [...notes.matchAll(/\.Values\.([\w.]+)/g)].map(([, path = '']) => path);
  expect(named.length).toBeGreaterThan(2);
  for (const path of named) expect(at(values, path), path).not.toBeUndefined();
  const entry = /"(\/app\/dist\S+)"/.exec(await read(root, 'deploy/Dockerfile'))?.[1] ?? '';
  expect(notes.split(entry).length - 1).toBe(2);
});

/** What holds for the API, however it is rendered. */
async function expectApi(manifests: Manifest[]): Promise<void> {
  expect(await schemaProblems(manifests)).toEqual([]);
  const ofApi = manifests.filter(({ metadata }) => metadata.name === 'rowhook-api');
  expect(ofApi.map(({ kind }) => kind).sort()).toEqual(['Deployment', 'NetworkPolicy', 'Service']);
  const deployment = only(ofApi, 'Deployment');
  expect(at(deployment, 'spec.template.spec.containers.0')).toMatchObject({
    args: ['serve'],
    env: expect.arrayContaining([{ name: 'ROWHOOK_API_HOST', value: '::' }]),
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
  });
  const labels = at(deployment, 'spec.template.metadata.labels') as Record<string, string>;
  for (const selector of [
    at(deployment, 'spec.selector.matchLabels'),
    at(only(ofApi, 'Service'), 'spec.selector'),
    at(only(ofApi, 'NetworkPolicy'), 'spec.podSelector.matchLabels'),
  ] as Record<string, string>[]) {
    expect(labels).toMatchObject(selector);
    expect(selector).toMatchObject({ 'app.kubernetes.io/component': 'api' });
  }
}

test('the files of the component api are what the API takes', async () => {
  const folder = join(base, 'components/api');
  const { resources } = parse(await read(folder, 'kustomization.yaml'));
  const files = await Promise.all(resources.map((file: string) => read(folder, file)));
  await expectApi(manifestsOf(files.join('\n---\n')));
});

describe.skipIf(!hasTool('helm', 'version'))('the chart', () => {
  test('has the API where it is switched on', async () => {
    await expectApi(await helm('--set', 'api.enabled=true'));
  });

  test('is as helm lint would have it', async () => {
    const { code, output } = await runTool('helm', ['lint', '--strict', chart]);
    expect(code, output).toBe(0);
  });

  test('renders to what we promise, and with everything switched on or off to what the API takes', async () => {
    const manifests = await helm();
    await expectPromises(manifests);
    expect(manifests.filter(({ kind }) => kind === 'ServiceMonitor')).toEqual([]);
    expect(only(manifests, 'Job').metadata.annotations).toMatchObject({ 'helm.sh/hook': 'pre-install,pre-upgrade' });

    const folder = await mkdtemp(join(tmpdir(), 'rowhook-chart-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const values = join(folder, 'values.json');
    const everything = {
      image: { repository: 'registry.example.com/rowhook', tag: 'abc' },
      imagePullSecrets: [{ name: 'pull' }],
      settings: { ROWHOOK_MAX_IN_FLIGHT: 1000000, ROWHOOK_ALLOW_HTTP: true, ROWHOOK_ALLOW_CIDRS: '10.9.0.0/16' },
      podAnnotations: { a: 'b' },
      nodeSelector: { a: 'b' },
      tolerations: [{ key: 'a', operator: 'Exists' }],
      affinity: { nodeAffinity: {} },
      networkPolicy: {
        database: { cidrs: ['10.9.8.7/32'], port: 6432 },
        egress: [{ to: [{ podSelector: { matchLabels: { app: 'collector' } } }], ports: [{ port: 4318 }] }],
      },
      serviceMonitor: { enabled: true, labels: { release: 'prometheus' } },
    };
    await writeFile(values, JSON.stringify(everything));
    const full = await helm('-f', values);
    expect(await schemaProblems(full)).toEqual([]);
    expect(only(full, 'ServiceMonitor').metadata.labels).toMatchObject({ release: 'prometheus' });
    expect(at(only(full, 'ConfigMap'), 'data')).toEqual({
      ROWHOOK_ENVIRONMENT: 'production',
      ROWHOOK_MAX_IN_FLIGHT: '1000000',
      ROWHOOK_ALLOW_HTTP: 'true',
      ROWHOOK_ALLOW_CIDRS: '10.9.0.0/16',
    });
    const policy = only(full, 'NetworkPolicy');
    expect([allows(policy, '10.9.8.7', 6432), allows(policy, '10.9.8.8', 6432)]).toEqual([true, false]);

    const least = await helm('--set', 'migrate.enabled=false,networkPolicy.enabled=false');
    expect(await schemaProblems(least)).toEqual([]);
    expect(least.map(({ kind }) => kind).sort()).toEqual([
      'ConfigMap',
      'Deployment',
      'PodDisruptionBudget',
      'Service',
      'ServiceAccount',
    ]);
  });

  test.each([
    ['replicaCount=3', 'replicaCount'],
    ['settings.DATABASE_URL=x', 'DATABASE_URL'],
    ['settings.ROWHOOK_HTTP_PORT=1', 'settings'],
    ['settings.ROWHOOK_HTTP_HOST=1', 'settings'],
    ['terminationGracePeriodSeconds=5', 'terminationGracePeriodSeconds'],
  ])('refuses %s', async (value, named) => {
    const { code, output } = await runTool('helm', ['template', 'rowhook', chart, '--set', value]);
    expect(code).not.toBe(0);
    expect(output).toContain(named);
  });

  test.skipIf(!hasTool('kubectl', 'version', '--client'))('runs the same pods as the base', async () => {
    const [rendered, kustomized] = [await helm(), await render('kubectl', 'kustomize', base)];
    const podOf = (manifests: readonly Manifest[]) => {
      const pod = structuredClone(at(only(manifests, 'Deployment'), 'spec.template.spec')) as Record<string, unknown>;
      const [container] = pod.containers as [Record<string, unknown>];
      // what Helm adds, and names that differ
      delete container.imagePullPolicy;
      return { ...pod, topologySpreadConstraints: null, containers: [{ ...container, envFrom: null }] };
    };
    expect(podOf(rendered)).toEqual(podOf(kustomized));
  });
});
