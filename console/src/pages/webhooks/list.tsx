import { useEffect, useState } from 'react';
import { Link, useNavigate } from 'react-router';
import type { WebhookInList } from 'rowhook/client';
import { client, queryOf } from '../../api/client.ts';
import { useList, useSwitch } from '../../api/queries.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useSession } from '../../session/session.tsx';
import { useAddress } from '../../ui/address.ts';
import { StateBadge } from '../../ui/badge.tsx';
import { Button } from '../../ui/button.tsx';
import { count, percent } from '../../ui/count.ts';
import { EventList } from '../../ui/event-list.tsx';
import { FilterSelect } from '../../ui/field.tsx';
import { PageHead } from '../../ui/head.tsx';
import { Pager } from '../../ui/pager.tsx';
import { Sparkline } from '../../ui/sparkline.tsx';
import { Empty, Failure, Notice, Skeleton } from '../../ui/states.tsx';
import { Toggle } from '../../ui/switch.tsx';
import { Cell, Row, Table } from '../../ui/table.tsx';
import { Ago } from '../../ui/time.tsx';

export default function WebhooksPage() {
  const { mayWrite } = useSession();
  const { to, path } = useOrganization();
  const navigate = useNavigate();
  const { get, set } = useAddress();
  const [q, active, cursor] = [get('q'), get('is_active'), get('cursor')];
  const query = { q, is_active: active, cursor };
  const list = useList(
    'webhooks',
    query,
    (signal) => client.GET('/api/v1/{org}/outgoing-webhooks', { params: { path, query: queryOf(query) }, signal }),
    { refetchMs: 15_000 },
  );
  const isFiltered = q !== '' || active !== '';

  const create = mayWrite && (
    <Button variant="primary" onClick={() => navigate(to('/webhooks/new'))}>
      Create webhook
    </Button>
  );
  const rows = list.data?.data ?? [];
  const isNone = list.data !== undefined && rows.length === 0 && !isFiltered && cursor === '';
  return (
    <>
      <PageHead title="Webhooks" actions={!isNone && create}>
        A webhook sends an HTTP request to a URL of yours whenever something happens.
      </PageHead>
      {!isNone && (
        <div className="toolbar">
          <Search value={q} onChange={(value) => set({ q: value }, { replace: true })} />
          <FilterSelect
            label="Show"
            value={active}
            onChange={(value) => set({ is_active: value })}
            options={[
              ['', 'All'],
              ['true', 'Switched on'],
              ['false', 'Switched off'],
            ]}
          />
        </div>
      )}
      {list.isError ? (
        <Failure error={list.error} onRetry={() => void list.refetch()} />
      ) : list.data === undefined ? (
        <Skeleton />
      ) : isNone ? (
        <First action={create} />
      ) : rows.length === 0 ? (
        <Empty
          title="None fits"
          action={<Button onClick={() => set({ q: '', is_active: '' })}>Show all webhooks</Button>}
        >
          <p>No webhook has {q === '' ? 'this state' : `“${q}” in its name, description or URL`}.</p>
        </Empty>
      ) : (
        <Table
          label="Webhooks"
          head={['Webhook', 'Events', 'Last 24 hours', 'Delivered', 'Last delivery', 'Waiting', 'Active']}
        >
          {rows.map((webhook) => (
            <WebhookRow key={webhook.id} webhook={webhook} />
          ))}
        </Table>
      )}
      <Pager next={list.data?.next_cursor ?? null} isLoading={list.isPlaceholderData} />
    </>
  );
}

function First({ action }: { action: React.ReactNode }) {
  return (
    <div className="first card">
      <h2>Your first webhook takes a minute</h2>
      <ol className="steps">
        <li>
          <strong>Say where to send.</strong> A URL of your application, or of a tool such as Zapier, Make or n8n.
        </li>
        <li>
          <strong>Choose events.</strong> All of them, or some, such as <code>deal.*</code>.
        </li>
        <li>
          <strong>Send a test.</strong> You see the request and what your receiver answered.
        </li>
      </ol>
      {action || <p className="muted">You may only read here. Somebody who may write creates the first one.</p>}
    </div>
  );
}

/** The address follows when typing pauses. */
function Search({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => onChange(text), 250);
    return () => clearTimeout(timer);
  });
  return (
    <input
      className="input input-small grow"
      type="search"
      aria-label="Search"
      placeholder="Search by text or URL"
      value={text}
      onChange={(event) => setText(event.target.value)}
    />
  );
}

function WebhookRow({ webhook }: { webhook: WebhookInList }) {
  const { to } = useOrganization();
  const { mayWrite } = useSession();
  const change = useSwitch(webhook.id);
  const { success, failed } = webhook.stats_24h;
  const rate = success + failed === 0 ? null : success / (success + failed);
  return (
    <Row>
      <Cell name="Webhook" isMain>
        <span className="stack">
          <span className="line">
            <Link className="strong clip" to={to(`/webhooks/${webhook.id}`)}>
              {webhook.name}
            </Link>
            {webhook.state !== 'active' && <StateBadge state={webhook.state} />}
          </span>
          <span className="mono small muted clip" title={webhook.target_url}>
            {webhook.target_url}
          </span>
        </span>
      </Cell>
      <Cell name="Events" isWide>
        <EventList types={webhook.event_types} />
      </Cell>
      <Cell name="Last 24 hours">
        <Sparkline values={webhook.sparkline} label={`${success + failed} attempts in the last 24 hours`} />
      </Cell>
      <Cell name="Delivered" isNumber>
        {rate === null ? (
          <span className="muted">–</span>
        ) : (
          <span className={rate < 0.95 ? 'text-bad' : undefined}>{percent(rate)}</span>
        )}
      </Cell>
      <Cell name="Last delivery">
        {webhook.last_attempt_at ? <Ago at={webhook.last_attempt_at} /> : <span className="muted never">Never</span>}
      </Cell>
      <Cell name="Waiting" isNumber>
        {webhook.waiting === 0 ? (
          <span className="muted">0</span>
        ) : (
          <Link to={to(`/deliveries?state=waiting&webhook=${webhook.id}`)}>{count(webhook.waiting)}</Link>
        )}
      </Cell>
      <Cell name="Active" isLine>
        <Toggle
          label={`Active: ${webhook.name}`}
          isLabelHidden
          checked={change.isPending ? change.variables : webhook.is_active}
          disabled={!mayWrite || change.isPending}
          onChange={(isActive) => change.mutate(isActive)}
        />
        {change.isError && <Notice kind="bad">{change.error.message}</Notice>}
      </Cell>
    </Row>
  );
}
