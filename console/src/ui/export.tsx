/** A list as a file, page by page. It is made in the browser, of what the API answers. */
import { useRef, useState } from 'react';
import { Button } from './button.tsx';
import { Modal } from './dialog.tsx';
import { SelectField } from './field.tsx';
import { Notice } from './states.tsx';

export interface PageOf<T> {
  data: readonly T[];
  next_cursor: string | null;
}

interface ExportProps<T> {
  /** Of the file, without its ending. */
  name: string;
  columns: readonly (keyof T & string)[];
  /** A page of the list with its present filters. */
  read: (cursor: string | null, signal: AbortSignal) => Promise<PageOf<T>>;
}

/** More than that is a job for the API or for SQL. */
const ROWS_MAX = 10_000;

type Format = 'csv' | 'json';

export function ExportButton<T>(props: ExportProps<T>) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <Button isSmall onClick={() => setOpen(true)}>
        Export…
      </Button>
      {isOpen && <ExportDialog {...props} onClose={() => setOpen(false)} />}
    </>
  );
}

function ExportDialog<T>({ name, columns, read, onClose }: ExportProps<T> & { onClose: () => void }) {
  const [format, setFormat] = useState<Format>('csv');
  const [count, setCount] = useState<number | null>(null);
  const [said, setSaid] = useState<{ kind: 'ok' | 'bad'; text: string } | null>(null);
  const aborting = useRef<AbortController>(null);

  const run = async () => {
    aborting.current = new AbortController();
    const { signal } = aborting.current;
    setSaid(null);
    setCount(0);
    try {
      const { rows, isWhole } = await readAll(read, signal, setCount);
      save(`${name}.${format}`, format === 'csv' ? csvOf(rows, columns) : JSON.stringify(rows, null, 2), format);
      const rest = isWhole ? '' : ' There are more: filter them by time, or read them by the API.';
      setSaid({ kind: 'ok', text: `${rows.length.toLocaleString('en')} rows were saved.${rest}` });
    } catch (error) {
      if (!signal.aborted) setSaid({ kind: 'bad', text: (error as Error).message });
    } finally {
      setCount(null);
    }
  };
  const close = () => {
    aborting.current?.abort();
    onClose();
  };
  return (
    <Modal
      title="Export"
      onClose={close}
      actions={
        <>
          <Button onClick={close}>{said?.kind === 'ok' ? 'Close' : 'Cancel'}</Button>
          <Button variant="primary" isBusy={count !== null} onClick={() => void run()}>
            Save as a file
          </Button>
        </>
      }
    >
      <p>What the filters show, newest first, {ROWS_MAX.toLocaleString('en')} rows at most. Bodies are not in it.</p>
      <SelectField
        label="Format"
        value={format}
        onChange={(value) => setFormat(value as Format)}
        options={[
          ['csv', 'CSV, for spreadsheets'],
          ['json', 'JSON, for programs'],
        ]}
      />
      {count !== null && (
        <p className="muted small" role="status">
          {count.toLocaleString('en')} rows so far…
        </p>
      )}
      {said && <Notice kind={said.kind}>{said.text}</Notice>}
    </Modal>
  );
}

async function readAll<T>(
  read: ExportProps<T>['read'],
  signal: AbortSignal,
  onCount: (count: number) => void,
): Promise<{ rows: T[]; isWhole: boolean }> {
  const rows: T[] = [];
  let cursor: string | null = null;
  do {
    const page: PageOf<T> = await read(cursor, signal);
    rows.push(...page.data);
    onCount(rows.length);
    cursor = page.next_cursor;
  } while (cursor !== null && rows.length < ROWS_MAX);
  return { rows: rows.slice(0, ROWS_MAX), isWhole: cursor === null && rows.length <= ROWS_MAX };
}

function csvOf<T>(rows: readonly T[], columns: readonly (keyof T & string)[]): string {
  const lines = rows.map((row) => columns.map((column) => cellOf(row[column])).join(','));
  return `${[columns.join(','), ...lines].join('\r\n')}\r\n`;
}

/** A spreadsheet runs what begins with = + - or @. Receivers and tenants write some of these texts. */
function cellOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  const text = String(value);
  const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const TYPES = { csv: 'text/csv;charset=utf-8', json: 'application/json' } as const;

function save(file: string, text: string, format: Format): void {
  const url = URL.createObjectURL(new Blob([text], { type: TYPES[format] }));
  const link = document.createElement('a');
  link.href = url;
  link.download = file;
  link.click();
  URL.revokeObjectURL(url);
}
