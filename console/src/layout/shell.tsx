/** What is around each page: the navigation, who is signed in, light and dark. */
import { useQuery } from '@tanstack/react-query';
import { type ReactNode, useEffect, useRef, useState } from 'react';
import { Link, Navigate, NavLink, Outlet, useLocation, useNavigation } from 'react-router';
import { answerOf, client } from '../api/client.ts';
import { useSession } from '../session/session.tsx';
import { Button } from '../ui/button.tsx';
import { visible } from '../ui/code.tsx';
import {
  BoltIcon,
  BuildingIcon,
  ClockIcon,
  GaugeIcon,
  HelpIcon,
  HookIcon,
  InboxIcon,
  KeyIcon,
  ListIcon,
  Logo,
  MenuIcon,
} from '../ui/icons.tsx';
import { Empty } from '../ui/states.tsx';
import { ShortAt } from '../ui/time.tsx';
import { useTitle } from '../ui/title.ts';
import { useOrganization } from './organization.ts';
import { ThemeButton } from './theme.tsx';

export function Shell() {
  const { me, signOut } = useSession();
  const named = me.organization?.name ?? me.organization_id;
  const [isOpen, setOpen] = useState(false);
  const { pathname } = useLocation();
  const { state } = useNavigation();
  const content = useRef<HTMLElement>(null);
  const isFirst = useRef(true);

  // After a change of page, the keyboard continues at its beginning.
  // biome-ignore lint/correctness/useExhaustiveDependencies: pathname is what changes
  useEffect(() => {
    setOpen(false);
    if (isFirst.current) isFirst.current = false;
    else content.current?.focus({ preventScroll: true });
  }, [pathname]);

  return (
    <div className="shell">
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <header className="side">
        <div className="side-top">
          <Link to="/" className="brand">
            <Logo />
            <span>rowhook</span>
          </Link>
          <button
            type="button"
            className="button button-quiet menu-button"
            aria-expanded={isOpen}
            aria-controls="menu"
            onClick={() => setOpen(!isOpen)}
          >
            <MenuIcon />
            Menu
          </button>
        </div>
        <div id="menu" className={isOpen ? 'side-menu side-menu-open' : 'side-menu'}>
          <Navigation />
          <div className="side-foot">
            <p className="who">
              <strong title={named ?? undefined}>{named ?? 'Operator'}</strong>
              {me.organization?.name && <span title={me.organization.id}>{me.organization.id}</span>}
              <span title="The name of the key, or of whoever made the link">{me.name}</span>
              {me.read_only && <span>Read only</span>}
              {me.expires_at && (
                <span>
                  Until <ShortAt at={me.expires_at} />
                </span>
              )}
            </p>
            <div className="side-buttons">
              <ThemeButton />
              {signOut && (
                <Button variant="quiet" isSmall onClick={signOut}>
                  Sign out
                </Button>
              )}
            </div>
          </div>
        </div>
      </header>
      <main id="content" className="content" ref={content} tabIndex={-1} aria-busy={state === 'loading'}>
        <Outlet />
      </main>
    </div>
  );
}

function Navigation() {
  const { isOperator, me, mayKeys } = useSession();
  const { to: toPage, id: asked } = useOrganization();
  // The page of another organization is not shown, so its navigation leads home.
  const id = isOperator ? asked : null;
  const to = isOperator ? toPage : (path: string) => path;
  const hasOwn = me.organization_id !== null || id !== null;
  return (
    <nav aria-label="Pages">
      {isOperator && (
        <>
          <Item to="/organizations" icon={<BuildingIcon />} text="Organizations" />
          <Item to="/status" icon={<GaugeIcon />} text="Status" />
        </>
      )}
      {hasOwn && (
        <>
          {id !== null && <ActingIn id={id} />}
          <Item to={to('/webhooks')} icon={<HookIcon />} text="Webhooks" />
          <Item to={to('/deliveries')} icon={<ListIcon />} text="Deliveries" />
          <Item to={to('/events')} icon={<BoltIcon />} text="Events" />
          <Item to={to('/inbound')} icon={<InboxIcon />} text="Inbound" />
          {mayKeys && <Item to={to('/api-keys')} icon={<KeyIcon />} text="API keys" />}
          <Item to={to('/changes')} icon={<ClockIcon />} text="Changes" />
          <Item to={to('/help')} icon={<HelpIcon />} text="Help" />
        </>
      )}
    </nav>
  );
}

/** The organization that an operator acts in. */
function ActingIn({ id }: { id: string }) {
  const { path, key } = useOrganization();
  const { data } = useQuery({
    queryKey: key('organization'),
    queryFn: ({ signal }) => answerOf(client.GET('/api/v1/{org}/organization', { params: { path }, signal })),
    staleTime: 60_000,
  });
  const named = data?.name ?? null;
  return (
    <p className="nav-head" title={id}>
      <strong>{named ?? id}</strong>
      {named !== null && <span className="muted">{id}</span>}
    </p>
  );
}

function Item({ to, icon, text }: { to: string; icon: ReactNode; text: string }) {
  return (
    <NavLink to={to} className="nav-item">
      {icon}
      {text}
    </NavLink>
  );
}

export function Home() {
  const { isOperator, me } = useSession();
  return <Navigate replace to={isOperator && me.organization_id === null ? '/organizations' : '/webhooks'} />;
}

/** An operator has no organization of its own, so its address must name one. */
export function OfOrganization() {
  const { me, isOperator } = useSession();
  const { id } = useOrganization();
  if (me.organization_id === null && id === null) return <Navigate replace to="/organizations" />;
  if (isOperator || id === null || id === me.organization_id) return <Outlet />;
  return <Foreign own={me.organization?.name ?? me.organization_id} asked={id} />;
}

/** A colleague of another organization, or an operator, has sent the address. */
function Foreign({ own, asked }: { own: string | null; asked: string }) {
  useTitle('Another organization');
  return (
    <Empty title="This page is of another organization" action={<Link to="/webhooks">Go to your webhooks</Link>}>
      <p>
        You are signed in for <strong>{own}</strong>. The address is of <strong>{visible(asked)}</strong>.
      </p>
      <p className="muted">To see it, open a link for that organization, or sign out and use a key of it.</p>
    </Empty>
  );
}
