/** Every event type with its fields, its JSON Schema and a sample that is made up. */
import { useMemo } from 'react';
import { Link } from 'react-router';
import { type EventType, useCatalog } from '../../api/events.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useSession } from '../../session/session.tsx';
import { useAddress } from '../../ui/address.ts';
import { Button } from '../../ui/button.tsx';
import { CodeBlock, visible } from '../../ui/code.tsx';
import { Empty, Failure, Skeleton } from '../../ui/states.tsx';
import { SearchField } from '../more/search-field.tsx';

export function Catalog() {
  const { get, set } = useAddress();
  const catalog = useCatalog();
  const q = get('q').toLowerCase();
  const all = catalog.data ?? [];
  const shown = all.filter(({ type, description }) => `${type} ${description ?? ''}`.toLowerCase().includes(q));
  const opened = get('type');
  return (
    <>
      <div className="toolbar">
        <SearchField label="Search" placeholder="Part of a type or of its description" name="q" />
      </div>
      {catalog.isError ? (
        <Failure error={catalog.error} onRetry={() => void catalog.refetch()} />
      ) : catalog.data === undefined ? (
        <Skeleton />
      ) : all.length === 0 ? (
        <Empty title="No type is described yet">
          <p>
            The types of a table appear here once it is watched. Whoever runs rowhook describes those that an
            application emits, with <code>rowhook.define_event_type</code>.
          </p>
        </Empty>
      ) : shown.length === 0 ? (
        <Empty title="None fits" action={<Button onClick={() => set({ q: '' })}>Show all types</Button>}>
          <p>No event type has “{get('q')}” in its name or description.</p>
        </Empty>
      ) : (
        <ul className="event-list card">
          {shown.map((type) => (
            <TypeItem
              key={type.type}
              type={type}
              isOpen={opened === type.type}
              onToggle={(isOpen) => set({ type: isOpen ? type.type : '' }, { replace: true })}
            />
          ))}
        </ul>
      )}
    </>
  );
}

interface TypeItemProps {
  type: EventType;
  isOpen: boolean;
  onToggle: (isOpen: boolean) => void;
}

function TypeItem({ type, isOpen, onToggle }: TypeItemProps) {
  return (
    <li>
      <button
        type="button"
        className="event-line event-line-type"
        aria-expanded={isOpen}
        onClick={() => onToggle(!isOpen)}
      >
        <span className="mono strong clip">{type.type}</span>
        <span className="muted small clip">{type.description ? visible(type.description) : 'Not described'}</span>
      </button>
      {isOpen && <TypeMore type={type} />}
    </li>
  );
}

function TypeMore({ type: { type, schema, sample } }: { type: EventType }) {
  const { to } = useOrganization();
  const { mayWrite } = useSession();
  const fields = useMemo(() => fieldsOf(schema), [schema]);
  return (
    <div className="event-more">
      {fields.length > 0 && (
        <dl className="pairs small">
          {fields.map(({ name, kind, about }) => (
            <div key={name}>
              <dt className="mono">{visible(name)}</dt>
              <dd className="wrap">
                <span className="mono">{kind}</span> {about && <span className="muted">{visible(about)}</span>}
              </dd>
            </div>
          ))}
        </dl>
      )}
      {sample && <CodeBlock label="Sample of data, made up," text={sample} />}
      {schema ? (
        <details>
          <summary>JSON Schema</summary>
          <CodeBlock label="JSON Schema of data" text={schema} />
        </details>
      ) : (
        <p className="muted small">Its data may be anything: nobody has described it.</p>
      )}
      {mayWrite && (
        <p>
          <Link to={to(`/webhooks/new?event_type=${encodeURIComponent(type)}`)}>Create a webhook for it</Link>
        </p>
      )}
    </div>
  );
}

interface FieldOfType {
  name: string;
  kind: string;
  about: string;
}

type Schema = { type?: unknown; enum?: unknown; format?: unknown; description?: unknown; anyOf?: unknown };

/** A column in a line: what a JSON Schema says of it, as far as a person asks first. */
function fieldsOf(schema: string | null): FieldOfType[] {
  if (schema === null) return [];
  const { properties } = JSON.parse(schema) as { properties?: Record<string, Schema> };
  if (typeof properties !== 'object' || properties === null) return [];
  return Object.entries(properties).map(([name, property]) => ({
    name,
    kind: kindOf(property),
    about: typeof property?.description === 'string' ? property.description : '',
  }));
}

const VALUES_MAX = 6;

function kindOf(schema: Schema): string {
  if (typeof schema !== 'object' || schema === null) return 'anything';
  const { type, enum: values, format, anyOf } = schema;
  if (Array.isArray(values)) {
    const more = values.length > VALUES_MAX ? ' …' : '';
    return (
      values
        .slice(0, VALUES_MAX)
        .map((one) => JSON.stringify(one))
        .join(' | ') + more
    );
  }
  if (Array.isArray(anyOf)) return anyOf.map(kindOf).join(' or ');
  const named = Array.isArray(type) ? type.join(' or ') : typeof type === 'string' ? type : 'anything';
  return typeof format === 'string' ? `${named} (${format})` : named;
}
