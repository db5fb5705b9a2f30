import { useEffect, useState } from 'react';
import { Button } from './button.tsx';
import { CheckIcon, CopyIcon } from './icons.tsx';

/** A frame may forbid the clipboard. Then the text is selected, and the visitor presses the keys. */
async function write(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'hidden-text';
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand('copy');
    area.remove();
    return isCopied;
  }
}

export function CopyButton({
  text,
  label = 'Copy',
  isSmall = true,
}: {
  text: string;
  label?: string;
  isSmall?: boolean;
}) {
  const [said, setSaid] = useState('');
  useEffect(() => {
    if (said === '') return;
    const timer = setTimeout(() => setSaid(''), 2_000);
    return () => clearTimeout(timer);
  }, [said]);
  return (
    <Button
      isSmall={isSmall}
      onClick={async () => setSaid((await write(text)) ? 'Copied' : 'Select it and press Ctrl-C')}
    >
      {said === 'Copied' ? <CheckIcon /> : <CopyIcon />}
      <span aria-live="polite">{said === '' ? label : said}</span>
    </Button>
  );
}
