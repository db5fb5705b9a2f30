/** A secret that was just made. It lives in memory only: the address and a reload do not have it. */
import { useSyncExternalStore } from 'react';
import { ShownOnce } from '../../ui/shown-once.tsx';

const secrets = new Map<string, string>();
const listeners = new Set<() => void>();

function changed(): void {
  for (const listener of listeners) listener();
}

export function keepSecret(webhook: string, secret: string): void {
  secrets.set(webhook, secret);
  changed();
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export function useNewSecret(webhook: string): string | undefined {
  return useSyncExternalStore(subscribe, () => secrets.get(webhook));
}

export function NewSecret({ webhook }: { webhook: string }) {
  const secret = useNewSecret(webhook);
  if (secret === undefined) return null;
  const forget = () => {
    secrets.delete(webhook);
    changed();
  };
  return (
    <ShownOnce what="secret" title="Copy the signing secret now" secret={secret} onDone={forget}>
      Your receiver needs it to check that a request is ours. It is shown this once. The tab Secret makes a new one, and
      has the code that checks it.
    </ShownOnce>
  );
}
