/** Every page and its address. An operator's pages of an organization stand below /o/<organization>. */
import type { ComponentType } from 'react';
import { createBrowserRouter, type RouteObject } from 'react-router';
import { Home, OfOrganization, Shell } from './layout/shell.tsx';
import { Unknown } from './layout/unknown.tsx';
import { PageLoading } from './ui/states.tsx';

const page = (path: string, load: () => Promise<{ default: ComponentType }>): RouteObject => ({
  path,
  lazy: async () => ({ Component: (await load()).default }),
});

const ofOrganization = (): RouteObject[] => [
  page('webhooks', () => import('./pages/webhooks/list.tsx')),
  page('webhooks/new', () => import('./pages/webhooks/create.tsx')),
  page('webhooks/:id/replay', () => import('./pages/webhooks/replay.tsx')),
  page('webhooks/:id/:tab?', () => import('./pages/webhooks/webhook.tsx')),
  page('deliveries', () => import('./pages/deliveries/unfinished.tsx')),
  page('deliveries/:delivery', () => import('./pages/deliveries/delivery.tsx')),
  page('events/:tab?', () => import('./pages/events/events.tsx')),
  page('inbound/:tab?', () => import('./pages/inbound/inbound.tsx')),
  page('api-keys', () => import('./pages/more/api-keys.tsx')),
  page('changes', () => import('./pages/more/changes.tsx')),
  page('help', () => import('./pages/more/help.tsx')),
];

export const router = createBrowserRouter(
  [
    {
      path: '/',
      Component: Shell,
      HydrateFallback: PageLoading,
      ErrorBoundary: Unknown,
      children: [
        { index: true, Component: Home },
        page('organizations', () => import('./pages/operator/organizations.tsx')),
        page('status', () => import('./pages/operator/status.tsx')),
        { path: 'o/:org', Component: OfOrganization, children: ofOrganization() },
        { Component: OfOrganization, children: ofOrganization() },
        { path: '*', Component: Unknown },
      ],
    },
  ],
  { basename: '/console' },
);
