/** What others wrote, as text: bounded, isolated from the text around it, never as HTML. */
import { useState } from 'react';
import { indented } from '../api/json-text.ts';
import { Button } from './button.tsx';
import { CopyButton } from './copy.tsx';

/** The page stays quick. The rest is shown on request, and copied in any case. */
const SHOWN_MAX = 20_000;
const WHOLE_MAX = 400_000;

/** Marks that turn the direction of text around, and other characters that are not seen. */
const INVISIBLE = /(?![\t\n\r])[\p{Cc}\p{Cf}]/gu;

export function visible(text: string): string {
  return text.replace(INVISIBLE, (mark) => `\\u${(mark.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`);
}

export function CodeBlock({ label, text, canIndent = true }: { label: string; text: string; canIndent?: boolean }) {
  const [isExact, setExact] = useState(false);
  const [isWhole, setWhole] = useState(false);
  const isLong = text.length > WHOLE_MAX;
  const formatted = isExact || isLong || !canIndent ? text : indented(text);
  const max = isWhole ? WHOLE_MAX : SHOWN_MAX;
  const bytes = new Blob([text]).size;
  return (
    <figure className="code-block">
      <figcaption>
        <span>
          {label} <span className="muted">{bytes.toLocaleString('en')} bytes</span>
        </span>
        <span className="line">
          {canIndent && !isLong && formatted !== text && (
            <Button variant="quiet" isSmall onClick={() => setExact(true)}>
              Exact text
            </Button>
          )}
          {isExact && (
            <Button variant="quiet" isSmall onClick={() => setExact(false)}>
              Indented
            </Button>
          )}
          <CopyButton text={text} />
        </span>
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it */}
      <pre className="code" tabIndex={0}>
        <bdi>{visible(formatted.slice(0, max))}</bdi>
      </pre>
      {formatted.length > max && (
        <p className="code-more">
          {isWhole
            ? `The first ${WHOLE_MAX.toLocaleString('en')} characters. Copy has all of it.`
            : 'There is more of it.'}{' '}
          {!isWhole && (
            <button type="button" className="as-link" onClick={() => setWhole(true)}>
              Show more
            </button>
          )}
        </p>
      )}
    </figure>
  );
}
