import type { ReactNode } from 'react';
import type { Status } from 'rowhook/client';
import { CheckIcon, ClockIcon, CrossIcon, SkipIcon } from './icons.tsx';

/** Of a webhook, as the API says it. */
type WebhookState = Status['troubled'][number]['state'];

export type Tone = 'ok' | 'bad' | 'warn' | 'none';

export function Badge({ tone, icon, children }: { tone: Tone; icon?: ReactNode; children: ReactNode }) {
  return (
    <span className={`badge badge-${tone}`}>
      {icon}
      {children}
    </span>
  );
}

/** A state has a word and a sign beside its colour. */
const STATUS: Readonly<Record<string, [Tone, string, ReactNode]>> = {
  success: ['ok', 'Delivered', <CheckIcon key="icon" />],
  delivered: ['ok', 'Delivered', <CheckIcon key="icon" />],
  failed: ['bad', 'Failed', <CrossIcon key="icon" />],
  skipped: ['none', 'Skipped', <SkipIcon key="icon" />],
  waiting: ['warn', 'Waiting', <ClockIcon key="icon" />],
  received: ['none', 'Received', <ClockIcon key="icon" />],
  processing: ['warn', 'Processing', <ClockIcon key="icon" />],
  processed: ['ok', 'Processed', <CheckIcon key="icon" />],
};

export function StatusBadge({ status }: { status: string }) {
  const [tone, text, icon] = STATUS[status] ?? ['none', status, null];
  return (
    <Badge tone={tone} icon={icon}>
      {text}
    </Badge>
  );
}

const STATES: Readonly<Record<WebhookState, [Tone, string, string]>> = {
  active: ['ok', 'Active', 'It gets its events.'],
  failing: ['bad', 'Failing', 'The last attempts failed. rowhook retries them.'],
  circuit_open: [
    'bad',
    'Paused',
    'Too many attempts failed in a row. rowhook waits, sends one to see whether the receiver works again, then the rest.',
  ],
  disabled: ['bad', 'Disabled', 'rowhook has disabled it. Switch it on once its receiver works.'],
  off: ['none', 'Off', 'Somebody has switched it off. Its events are skipped.'],
  deleted: ['none', 'Deleted', 'Somebody has deleted it.'],
};

export function StateBadge({ state }: { state: WebhookState }) {
  const [tone, text, title] = STATES[state] ?? ['none', state, ''];
  return (
    <span title={title}>
      <Badge tone={tone}>{text}</Badge>
    </span>
  );
}

export function stateSentence(state: WebhookState): string {
  return STATES[state]?.[2] ?? '';
}
