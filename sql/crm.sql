-- The five business tables of the demo and the tests: a small CRM that many organizations share.
-- The tables do not depend on rowhook. `select rowhook.watch_preset('crm')` watches them.

create table if not exists public.clients (
  id               uuid           primary key default gen_random_uuid(),
  organization_id  uuid           not null,
  name             text           not null,
  industry         text,
  website          text,
  status           text           not null default 'active',
  created_at       timestamptz    not null default now(),
  updated_at       timestamptz    not null default now()
);

create table if not exists public.contacts (
  id               uuid           primary key default gen_random_uuid(),
  organization_id  uuid           not null,
  client_id        uuid           references public.clients on delete set null,
  first_name       text           not null,
  last_name        text           not null,
  email            text,
  phone            text,
  owner_id         uuid,
  assigned_to      uuid,
  created_at       timestamptz    not null default now(),
  updated_at       timestamptz    not null default now()
);

create table if not exists public.deals (
  id               uuid           primary key default gen_random_uuid(),
  organization_id  uuid           not null,
  contact_id       uuid           references public.contacts on delete cascade,
  title            text           not null,
  value            numeric(14,2)  not null default 0,
  currency         text           not null default 'EUR',
  stage            text           not null default 'new',
  assigned_to      uuid,
  expected_close   date,
  created_at       timestamptz    not null default now(),
  updated_at       timestamptz    not null default now()
);

create table if not exists public.projects (
  id               uuid           primary key default gen_random_uuid(),
  organization_id  uuid           not null,
  client_id        uuid           references public.clients on delete cascade,
  name             text           not null,
  status           text           not null default 'planned',
  budget           numeric(14,2),
  starts_on        date,
  ends_on          date,
  created_at       timestamptz    not null default now(),
  updated_at       timestamptz    not null default now()
);

create table if not exists public.notes (
  id               uuid           primary key default gen_random_uuid(),
  organization_id  uuid           not null,
  contact_id       uuid           references public.contacts on delete cascade,
  body             text           not null,
  author_id        uuid,
  created_at       timestamptz    not null default now(),
  updated_at       timestamptz    not null default now()
);

create index if not exists contacts_client_id_idx on public.contacts (client_id);
create index if not exists deals_contact_id_idx   on public.deals    (contact_id);
create index if not exists projects_client_id_idx on public.projects (client_id);
create index if not exists notes_contact_id_idx   on public.notes    (contact_id);
