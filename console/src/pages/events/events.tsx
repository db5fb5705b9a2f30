/** What happened, and what can happen. */
import * as Tabs from '@radix-ui/react-tabs';
import { useNavigate, useParams } from 'react-router';
import { useOrganization } from '../../layout/organization.ts';
import { Unknown } from '../../layout/unknown.tsx';
import { PageHead } from '../../ui/head.tsx';
import { Catalog } from './catalog-tab.tsx';
import { EventStream } from './stream-tab.tsx';

const TABS = [
  ['stream', 'What happened'],
  ['catalog', 'Catalog'],
] as const;

export default function EventsPage() {
  const { tab = 'stream' } = useParams();
  const { to } = useOrganization();
  const navigate = useNavigate();
  if (!TABS.some(([name]) => name === tab)) return <Unknown />;
  return (
    <>
      <PageHead title="Events">
        {tab === 'stream'
          ? 'The last 7 days, newest first, as a webhook gets them. A change is stored if a webhook wanted it.'
          : 'Every type of event that a webhook may ask for, with its fields and an example.'}
      </PageHead>
      <Tabs.Root
        value={tab}
        activationMode="manual"
        onValueChange={(next) => navigate(to(next === 'stream' ? '/events' : `/events/${next}`))}
      >
        <Tabs.List className="tabs" aria-label="Parts of Events">
          {TABS.map(([name, text]) => (
            <Tabs.Trigger key={name} value={name} className="tab">
              {text}
            </Tabs.Trigger>
          ))}
        </Tabs.List>
        <Tabs.Content value="stream" className="tab-content">
          <EventStream />
        </Tabs.Content>
        <Tabs.Content value="catalog" className="tab-content">
          <Catalog />
        </Tabs.Content>
      </Tabs.Root>
    </>
  );
}
