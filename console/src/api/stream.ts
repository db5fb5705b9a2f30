/** Attempts as they happen. */
import { useEffect, useRef, useState } from 'react';
import { followAttempts, type LiveAttempt } from 'rowhook/client';
import { useOrganization } from '../layout/organization.ts';
import { client } from './client.ts';

/** Rows that are kept. A page with more of them would slow down, and nobody reads them. */
const KEPT_MAX = 100;
/** The page is drawn this often at most, however many attempts there are. */
const DRAW_EVERY_MS = 250;

export interface Live {
  /** Newest first. */
  attempts: readonly LiveAttempt[];
  state: 'connecting' | 'open' | 'lost';
  /** How many the server left out, because there were too many in a second. */
  skipped: number;
}

const NOTHING: Live = { attempts: [], state: 'connecting', skipped: 0 };

export function useStream(webhook: string, isOn: boolean): Live {
  const { org } = useOrganization();
  const [live, setLive] = useState(NOTHING);
  const kept = useRef<LiveAttempt[]>([]);

  useEffect(() => {
    if (!isOn) return;
    kept.current = [];
    setLive(NOTHING);
    const aborted = new AbortController();
    let skipped = 0;
    let drawing: ReturnType<typeof setTimeout> | undefined;
    const draw = () => {
      drawing ??= setTimeout(() => {
        drawing = undefined;
        setLive({ attempts: kept.current, state: 'open', skipped });
      }, DRAW_EVERY_MS);
    };
    followAttempts(client, {
      org,
      signal: aborted.signal,
      onAttempt: (attempt) => {
        if (attempt.webhook_id !== webhook) return;
        kept.current = [attempt, ...kept.current.filter(({ id }) => id !== attempt.id)].slice(0, KEPT_MAX);
        draw();
      },
      onSkipped: (count) => {
        skipped += count;
        draw();
      },
      onState: (state) => setLive((before) => ({ ...before, state })),
    }).catch(() => setLive((before) => ({ ...before, state: 'lost' })));
    return () => {
      aborted.abort();
      clearTimeout(drawing);
    };
  }, [org, webhook, isOn]);
  return live;
}
