import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { RouterProvider } from 'react-router/dom';
import { RowhookError } from './api/client.ts';
import { router } from './routes.tsx';
import { SessionProvider } from './session/session.tsx';
import './styles/base.css';
import './styles/controls.css';
import './styles/layout.css';
import './styles/content.css';

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      // What the server has refused once it refuses again.
      retry: (count, error) =>
        count < 2 && !(error instanceof RowhookError && error.status >= 400 && error.status < 500),
    },
    mutations: { retry: false },
  },
});

createRoot(document.getElementById('root') as HTMLElement).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <SessionProvider>
        <RouterProvider router={router} />
      </SessionProvider>
    </QueryClientProvider>
  </StrictMode>,
);
