/** Checks a signature in the browser: the secret goes nowhere. */
import { type FormEvent, useState } from 'react';
import type { AttemptDetail } from 'rowhook/client';
import { Button } from '../../ui/button.tsx';
import { TextField } from '../../ui/field.tsx';
import { Notice } from '../../ui/states.tsx';

const header = (headers: Record<string, string> | null, wanted: string) =>
  Object.entries(headers ?? {}).find(([name]) => name.toLowerCase() === wanted)?.[1];

function bytesOf(secret: string): Uint8Array<ArrayBuffer> {
  if (!secret.startsWith('whsec_')) return new TextEncoder().encode(secret);
  return Uint8Array.from(atob(secret.slice(6)), (char) => char.charCodeAt(0));
}

/** Standard Webhooks: HMAC-SHA256 of id.timestamp.body, in base64. */
async function signatureOf(secret: string, id: string, time: string, body: string): Promise<string> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', bytesOf(secret), algorithm, false, ['sign']);
  const mac = await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(`${id}.${time}.${body}`));
  return `v1,${btoa(String.fromCharCode(...new Uint8Array(mac)))}`;
}

export function VerifySignature({ attempt }: { attempt: AttemptDetail }) {
  const { headers, body } = attempt.request;
  const [secret, setSecret] = useState('');
  const [result, setResult] = useState<'valid' | 'other' | 'unreadable' | null>(null);
  const id = header(headers, 'webhook-id');
  const time = header(headers, 'webhook-timestamp');
  const sent = header(headers, 'webhook-signature');
  if (id === undefined || time === undefined || sent === undefined || body === null) return null;
  const check = async (event: FormEvent) => {
    event.preventDefault();
    try {
      const expected = await signatureOf(secret.trim(), id, time, body);
      setResult(sent.split(' ').includes(expected) ? 'valid' : 'other');
    } catch {
      setResult('unreadable');
    }
  };
  return (
    <section className="card part">
      <h2>Verify the signature</h2>
      <p className="muted">Paste the secret that your receiver uses. It is checked in this page and sent nowhere.</p>
      <form className="inline-form" onSubmit={check}>
        <div className="grow">
          <TextField
            label="Secret"
            type="password"
            isMono
            value={secret}
            onChange={(value) => {
              setSecret(value);
              setResult(null);
            }}
            autoComplete="off"
            placeholder="whsec_…"
          />
        </div>
        <Button type="submit" disabled={secret.trim() === '' || crypto.subtle === undefined}>
          Verify
        </Button>
      </form>
      {crypto.subtle === undefined && <Notice kind="warn">The browser can do this only over https.</Notice>}
      {result === 'valid' && <Notice kind="ok">Valid: this secret signed the request.</Notice>}
      {result === 'other' && (
        <Notice kind="bad">
          Another secret signed it. Your receiver would refuse this request: give it the webhook's secret, or make a new
          one in the tab Secret.
        </Notice>
      )}
      {result === 'unreadable' && <Notice kind="bad">What follows whsec_ is not base64. Copy the secret again.</Notice>}
    </section>
  );
}
