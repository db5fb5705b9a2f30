import * as Tabs from '@radix-ui/react-tabs';
import { useEffect, useRef, useState } from 'react';
import { useNavigate, useParams } from 'react-router';
import type { Webhook } from 'rowhook/client';
import { answerOf, client } from '../../api/client.ts';
import { useSwitch, useWebhook, useWrite } from '../../api/queries.ts';
import { useOrganization } from '../../layout/organization.ts';
import { Unknown } from '../../layout/unknown.tsx';
import { useSession } from '../../session/session.tsx';
import { StateBadge } from '../../ui/badge.tsx';
import { Button } from '../../ui/button.tsx';
import { Confirm } from '../../ui/dialog.tsx';
import { PageHead } from '../../ui/head.tsx';
import { Failure, Notice, Skeleton } from '../../ui/states.tsx';
import { Toggle } from '../../ui/switch.tsx';
import { WebhookDeliveries } from './deliveries-tab.tsx';
import { NewSecret } from './new-secret.tsx';
import { Overview } from './overview-tab.tsx';
import { SecretTab } from './secret-tab.tsx';
import { SettingsTab } from './settings-tab.tsx';
import { TestTab } from './test-tab.tsx';

const TABS = [
  ['overview', 'Overview'],
  ['deliveries', 'Deliveries'],
  ['test', 'Test'],
  ['settings', 'Settings'],
  ['secret', 'Secret'],
] as const;

export default function WebhookPage() {
  const { id = '', tab = 'overview' } = useParams();
  const { to } = useOrganization();
  const navigate = useNavigate();
  const { data, error, refetch } = useWebhook(id);
  const back = { to: to('/webhooks'), text: 'Webhooks' };
  // On a narrow screen not all tabs have room, and the list scrolls.
  const tabs = useRef<HTMLDivElement>(null);
  const isLoaded = data !== undefined;
  // biome-ignore lint/correctness/useExhaustiveDependencies: tab is what changes the active one
  useEffect(() => {
    tabs.current?.querySelector('[data-state=active]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }, [tab, isLoaded]);
  if (!TABS.some(([name]) => name === tab)) return <Unknown />;
  if (data === undefined)
    return (
      <>
        <PageHead title={error ? 'Webhook' : '…'} back={back} />
        {error ? <Failure error={error} onRetry={() => void refetch()} /> : <Skeleton />}
      </>
    );
  const { webhook } = data;
  return (
    <>
      <PageHead
        title={webhook.name}
        back={back}
        badge={<StateBadge state={webhook.state} />}
        actions={<Actions webhook={webhook} />}
      >
        <span className="mono small wrap">
          {webhook.http_method} {webhook.target_url}
        </span>
        {webhook.description && <p className="wrap">{webhook.description}</p>}
      </PageHead>
      <NewSecret webhook={id} />
      <Tabs.Root
        value={tab}
        activationMode="manual"
        onValueChange={(next) => navigate(to(`/webhooks/${id}${next === 'overview' ? '' : `/${next}`}`))}
      >
        <Tabs.List ref={tabs} className="tabs" aria-label={`Parts of ${webhook.name}`}>
          {TABS.map(([name, text]) => (
            <Tabs.Trigger key={name} value={name} className="tab">
              {text}
            </Tabs.Trigger>
          ))}
        </Tabs.List>
        <Tabs.Content value="overview" className="tab-content">
          <Overview webhook={webhook} />
        </Tabs.Content>
        <Tabs.Content value="deliveries" className="tab-content">
          <WebhookDeliveries webhook={webhook} />
        </Tabs.Content>
        <Tabs.Content value="test" className="tab-content">
          <TestTab webhook={webhook} />
        </Tabs.Content>
        <Tabs.Content value="settings" className="tab-content">
          <SettingsTab stored={data} />
        </Tabs.Content>
        <Tabs.Content value="secret" className="tab-content">
          <SecretTab webhook={webhook} />
        </Tabs.Content>
      </Tabs.Root>
    </>
  );
}

function Actions({ webhook }: { webhook: Webhook }) {
  const { mayWrite } = useSession();
  const { to, org } = useOrganization();
  const navigate = useNavigate();
  const [isAsking, setAsking] = useState(false);
  const change = useSwitch(webhook.id);
  const remove = useWrite(() =>
    answerOf(client.DELETE('/api/v1/{org}/outgoing-webhooks/{id}', { params: { path: { org, id: webhook.id } } })),
  );
  return (
    <>
      <Toggle
        label="Active"
        checked={change.isPending ? change.variables : webhook.is_active}
        disabled={!mayWrite || change.isPending}
        onChange={(isActive) => change.mutate(isActive)}
      />
      {mayWrite && (
        <Button variant="danger" onClick={() => setAsking(true)}>
          Delete
        </Button>
      )}
      {change.isError && <Notice kind="bad">{change.error.message}</Notice>}
      {isAsking && (
        <Confirm
          title={`Delete “${webhook.name}”?`}
          action="Delete"
          isDanger
          isBusy={remove.isPending}
          onClose={() => setAsking(false)}
          onConfirm={() => remove.mutate(undefined, { onSuccess: () => navigate(to('/webhooks'), { replace: true }) })}
        >
          <p>
            It gets no more requests
            {webhook.waiting > 0 && `, and the ${webhook.waiting} deliveries that wait are dropped`}. Its secret is
            lost. This cannot be undone.
          </p>
          <p className="muted">To stop it for a while, switch it off instead.</p>
          {remove.isError && <Notice kind="bad">{remove.error.message}</Notice>}
        </Confirm>
      )}
    </>
  );
}
