/** Webhooks that others send to the organization: what came, and who may send. */
import * as Tabs from '@radix-ui/react-tabs';
import { useNavigate, useParams } from 'react-router';
import { useOrganization } from '../../layout/organization.ts';
import { Unknown } from '../../layout/unknown.tsx';
import { PageHead } from '../../ui/head.tsx';
import { InboundEvents } from './events-tab.tsx';
import { InboundSources } from './sources-tab.tsx';

const TABS = [
  ['events', 'Events'],
  ['sources', 'Sources'],
] as const;

export default function InboundPage() {
  const { tab = 'events' } = useParams();
  const { to } = useOrganization();
  const navigate = useNavigate();
  if (!TABS.some(([name]) => name === tab)) return <Unknown />;
  return (
    <>
      <PageHead title="Inbound">
        Webhooks that others send to us: Stripe, GitHub, forms. Each is checked, stored, and read by your application.
      </PageHead>
      <Tabs.Root
        value={tab}
        activationMode="manual"
        onValueChange={(next) => navigate(to(next === 'events' ? '/inbound' : `/inbound/${next}`))}
      >
        <Tabs.List className="tabs" aria-label="Parts of Inbound">
          {TABS.map(([name, text]) => (
            <Tabs.Trigger key={name} value={name} className="tab">
              {text}
            </Tabs.Trigger>
          ))}
        </Tabs.List>
        <Tabs.Content value="events" className="tab-content">
          <InboundEvents />
        </Tabs.Content>
        <Tabs.Content value="sources" className="tab-content">
          <InboundSources />
        </Tabs.Content>
      </Tabs.Root>
    </>
  );
}
