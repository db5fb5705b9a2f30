-- What rowhook.watch('deals') writes for the table deals of sql/crm.sql. test/capture/golden.test.ts compares it.

CREATE OR REPLACE FUNCTION rowhook._capture_2()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET row_security TO 'on'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_old       record;
  v_new       record;
  v_tenant    text;
  v_types     text[];
  v_key       text;
  v_data      json;
  v_previous  json;
  v_truncated text;
  v_changed   text;
  v_wanted    boolean;
  v_query     text;
  v_written   bigint;
  v_settings  text[];
begin
  if current_setting('rowhook.mute', true) = 'on' then
    return null;
  end if;
  <<capture>>
  begin
    <<one_row>>
    begin
      if tg_op = 'INSERT' then
        select * into strict v_new from rowhook_new where rowhook._layout(2) = 'e9b0b42f741d236768e4d36639f993ea';
        v_tenant := v_new.organization_id::text;
        select true into v_wanted from rowhook.webhook_configurations as w where w.tenant_id = v_tenant and coalesce(w.disabled_at, 'infinity') > now() - interval '30 days' and w.event_types && '{deal.created,*,deal.*}'::text[] limit 1;
        if v_wanted is null then
          return null;
        end if;
        if current_setting('TimeZone') not in ('UTC', 'Etc/UTC', 'GMT') then
          v_settings := rowhook._pin();
        end if;
        v_types := '{deal.created}'::text[];
        v_key := v_new.id::text;
        v_data := case when pg_column_size(v_new) <= 8388608 then row_to_json(v_new) end;
        if (pg_column_size(v_data) <= 1048580) is not true then
          v_data := json_build_object('id', v_new.id);
          v_previous := null;
          v_truncated := 'too_large';
        end if;
      elsif tg_op = 'DELETE' then
        select * into strict v_old from rowhook_old where rowhook._layout(2) = 'e9b0b42f741d236768e4d36639f993ea';
        v_tenant := v_old.organization_id::text;
        select true into v_wanted from rowhook.webhook_configurations as w where w.tenant_id = v_tenant and coalesce(w.disabled_at, 'infinity') > now() - interval '30 days' and w.event_types && '{deal.deleted,*,deal.*}'::text[] limit 1;
        if v_wanted is null then
          return null;
        end if;
        if current_setting('TimeZone') not in ('UTC', 'Etc/UTC', 'GMT') then
          v_settings := rowhook._pin();
        end if;
        v_types := '{deal.deleted}'::text[];
        v_key := v_old.id::text;
        v_data := case when pg_column_size(v_old) <= 8388608 then row_to_json(v_old) end;
        if (pg_column_size(v_data) <= 1048580) is not true then
          v_data := json_build_object('id', v_old.id);
          v_previous := null;
          v_truncated := 'too_large';
        end if;
      else
        select * into strict v_new from rowhook_new where rowhook._layout(2) = 'e9b0b42f741d236768e4d36639f993ea';
        select * into strict v_old from rowhook_old;
        exit one_row when v_old.organization_id is distinct from v_new.organization_id or v_old.id is distinct from v_new.id;
        v_tenant := v_new.organization_id::text;
        select w.event_types && '{deal.updated,*,deal.*}'::text[] into v_wanted from rowhook.webhook_configurations as w where w.tenant_id = v_tenant and coalesce(w.disabled_at, 'infinity') > now() - interval '30 days' and w.event_types && '{deal.assigned,deal.stage.changed,deal.updated,*,deal.*,deal.stage.*}'::text[] limit 1;
        if v_wanted is null then
          return null;
        end if;
        if current_setting('TimeZone') not in ('UTC', 'Etc/UTC', 'GMT') then
          v_settings := rowhook._pin();
        end if;
        v_changed := array_to_string(array[
          case when v_old.contact_id is distinct from v_new.contact_id then '"contact_id":' || coalesce(to_json(v_old.contact_id)::text, 'null') end,
          case when v_old.title collate "C" is distinct from v_new.title collate "C" then '"title":' || coalesce(to_json(v_old.title)::text, 'null') end,
          case when row(v_old.value)::record operator(pg_catalog.*<>) row(v_new.value)::record then '"value":' || coalesce(to_json(v_old.value)::text, 'null') end,
          case when v_old.currency collate "C" is distinct from v_new.currency collate "C" then '"currency":' || coalesce(to_json(v_old.currency)::text, 'null') end,
          case when v_old.stage collate "C" is distinct from v_new.stage collate "C" then '"stage":' || coalesce(to_json(v_old.stage)::text, 'null') end,
          case when v_old.assigned_to is distinct from v_new.assigned_to then '"assigned_to":' || coalesce(to_json(v_old.assigned_to)::text, 'null') end,
          case when v_old.expected_close is distinct from v_new.expected_close then '"expected_close":' || coalesce(to_json(v_old.expected_close)::text, 'null') end,
          case when v_old.created_at is distinct from v_new.created_at then '"created_at":' || coalesce(to_json(v_old.created_at)::text, 'null') end,
          case when v_old.updated_at is distinct from v_new.updated_at then '"updated_at":' || coalesce(to_json(v_old.updated_at)::text, 'null') end]::text[], ',');
        exit capture when v_changed = array_to_string(array[
          case when v_old.updated_at is distinct from v_new.updated_at then '"updated_at":' || coalesce(to_json(v_old.updated_at)::text, 'null') end]::text[], ',');
        v_types := array_remove(array['deal.updated', case when v_old.assigned_to is distinct from v_new.assigned_to and v_new.assigned_to is not null then 'deal.assigned' end, case when v_old.stage collate "C" is distinct from v_new.stage collate "C" then 'deal.stage.changed' end]::text[], null);
        if not v_wanted then
          select true into v_wanted from rowhook.webhook_configurations as w where w.tenant_id = v_tenant and coalesce(w.disabled_at, 'infinity') > now() - interval '30 days' and w.event_types && (v_types || '{*,deal.*,deal.stage.*}'::text[]) limit 1;
          exit capture when v_wanted is null;
        end if;
        v_key := v_new.id::text;
        v_data := case when pg_column_size(v_new) <= 8388608 then row_to_json(v_new) end;
        v_previous := ('{' || v_changed || '}')::json;
        if (pg_column_size(v_data) + pg_column_size(v_previous) <= 1048584) is not true then
          v_data := json_build_object('id', v_new.id);
          v_previous := null;
          v_truncated := 'too_large';
        end if;
      end if;
    exception
      when no_data_found or too_many_rows or undefined_column or undefined_function or ambiguous_function or datatype_mismatch then
        v_data := null;
        v_settings := null;
    end;
    if v_data is not null then
      insert into rowhook.webhook_outbox (source_id, lane, tenant_id, event_types, row_key, data, previous, truncated)
      values (2, rowhook._lane(v_tenant), v_tenant, v_types, v_key, v_data, v_previous, v_truncated);
      get diagnostics v_written = row_count;
      exit capture;
    end if;
    if tg_op = 'INSERT' then
      v_wanted := case when rowhook._layout(2) = 'e9b0b42f741d236768e4d36639f993ea' then exists (select from (select side.tenant from (select null::text as organization_id) as missing cross join lateral (select organization_id::text collate "default" as tenant from rowhook_new as r) as side) as i where (select true from rowhook.webhook_configurations as w where w.tenant_id = i.tenant and coalesce(w.disabled_at, 'infinity') > now() - interval '30 days' and w.event_types && '{deal.created,*,deal.*}'::text[] limit 1)) end;
      exit capture when not v_wanted;
      v_settings := coalesce(v_settings, rowhook._pin());
      if v_wanted then
        insert into rowhook.webhook_outbox (source_id, lane, tenant_id, event_types, row_key, data, previous, truncated) select 2, rowhook._lane(f.tenant_id), f.tenant_id, f.event_types, f.row_key,
           case when f.fits then f.data else json_build_object('id', f.k1) end, case when f.fits then null::json end, case when not f.fits then 'too_large' end
      from (select d.*, coalesce(pg_column_size(d.data) - 4 <= 1048576, false) as fits
              from (select e.*
                      from (select e.*, case when pg_column_size(e.whole) <= 8388608 then row_to_json(e.whole) end as data
                              from (select n.tenant as tenant_id, '{deal.created}'::text[] as event_types, n.key as row_key, n.whole, n.c1 as k1 from (select side.*, side.image as whole, side.c1::text collate "C" as key from (select null::text as organization_id, null::text as id, null::text as stage, null::text as assigned_to) as missing cross join lateral (select (r.*)::record as image, organization_id::text collate "default" as tenant, id as c1, stage as c7, assigned_to as c8 from rowhook_new as r) as side) as n) as e
                             where e.tenant_id is not null and e.event_types <> '{}' and (select true from rowhook.webhook_configurations as w where w.tenant_id = e.tenant_id and coalesce(w.disabled_at, 'infinity') > now() - interval '30 days' and w.event_types && (e.event_types || '{*,deal.*}'::text[]) limit 1)
                            offset 0) as e) as d) as f;
      end if;
    elsif tg_op = 'DELETE' then
      v_wanted := case when rowhook._layout(2) = 'e9b0b42f741d236768e4d36639f993ea' then exists (select from (select side.tenant from (select null::text as organization_id) as missing cross join lateral (select organization_id::text collate "default" as tenant from rowhook_old as r) as side) as i where (select true from rowhook.webhook_configurations as w where w.tenant_id = i.tenant and coalesce(w.disabled_at, 'infinity') > now() - interval '30 days' and w.event_types && '{deal.deleted,*,deal.*}'::text[] limit 1)) end;
      exit capture when not v_wanted;
      v_settings := coalesce(v_settings, rowhook._pin());
      if v_wanted then
        insert into rowhook.webhook_outbox (source_id, lane, tenant_id, event_types, row_key, data, previous, truncated) select 2, rowhook._lane(f.tenant_id), f.tenant_id, f.event_types, f.row_key,
           case when f.fits then f.data else json_build_object('id', f.k1) end, case when f.fits then null::json end, case when not f.fits then 'too_large' end
      from (select d.*, coalesce(pg_column_size(d.data) - 4 <= 1048576, false) as fits
              from (select e.*
                      from (select e.*, case when pg_column_size(e.whole) <= 8388608 then row_to_json(e.whole) end as data
                              from (select o.tenant as tenant_id, '{deal.deleted}'::text[] as event_types, o.key as row_key, o.whole, o.c1 as k1 from (select side.*, side.image as whole, side.c1::text collate "C" as key from (select null::text as organization_id, null::text as id, null::text as stage, null::text as assigned_to) as missing cross join lateral (select (r.*)::record as image, organization_id::text collate "default" as tenant, id as c1, stage as c7, assigned_to as c8 from rowhook_old as r) as side) as o) as e
                             where e.tenant_id is not null and e.event_types <> '{}' and (select true from rowhook.webhook_configurations as w where w.tenant_id = e.tenant_id and coalesce(w.disabled_at, 'infinity') > now() - interval '30 days' and w.event_types && (e.event_types || '{*,deal.*}'::text[]) limit 1)
                            offset 0) as e) as d) as f;
      end if;
    else
      v_wanted := case when rowhook._layout(2) = 'e9b0b42f741d236768e4d36639f993ea' then exists (select from (select side.tenant from (select null::text as organization_id) as missing cross join lateral (select organization_id::text collate "default" as tenant from rowhook_new as r) as side) as i where (select true from rowhook.webhook_configurations as w where w.tenant_id = i.tenant and coalesce(w.disabled_at, 'infinity') > now() - interval '30 days' and w.event_types && '{deal.assigned,deal.created,deal.deleted,deal.stage.changed,deal.updated,*,deal.*,deal.stage.*}'::text[] limit 1)) end;
      if not v_wanted then
        v_wanted := exists (select from (select side.tenant from (select null::text as organization_id) as missing cross join lateral (select organization_id::text collate "default" as tenant from rowhook_old as r) as side) as i where (select true from rowhook.webhook_configurations as w where w.tenant_id = i.tenant and coalesce(w.disabled_at, 'infinity') > now() - interval '30 days' and w.event_types && '{deal.assigned,deal.created,deal.deleted,deal.stage.changed,deal.updated,*,deal.*,deal.stage.*}'::text[] limit 1));
      end if;
      exit capture when not v_wanted;
      v_settings := coalesce(v_settings, rowhook._pin());
      if v_wanted then
        insert into rowhook.webhook_outbox (source_id, lane, tenant_id, event_types, row_key, data, previous, truncated) select 2, rowhook._lane(f.tenant_id), f.tenant_id, f.event_types, f.row_key,
           case when f.fits then f.data else json_build_object('id', f.k1) end, case when f.fits then f.previous end, case when not f.fits then 'too_large' end
      from (select d.*, coalesce(pg_column_size(d.data) - 4 + coalesce(pg_column_size(d.previous) - 4, 0) <= 1048576, false) as fits
              from (select e.*
                      from (select e.*, case when pg_column_size(e.whole) <= 8388608 then row_to_json(e.whole) end as data
                              from (select p.tenant_id, p.event_types, p.row_key, p.whole, p.problem, case when not p.moved and p.problem is null then ('{' || array_to_string(array[case when row(p.o1)::record operator(pg_catalog.*<>) row(p.n1)::record then '"id":' || coalesce(to_json(p.o1)::text, 'null') end, case when row(p.o2)::record operator(pg_catalog.*<>) row(p.n2)::record then '"organization_id":' || coalesce(to_json(p.o2)::text, 'null') end, case when row(p.o3)::record operator(pg_catalog.*<>) row(p.n3)::record then '"contact_id":' || coalesce(to_json(p.o3)::text, 'null') end, case when row(p.o4)::record operator(pg_catalog.*<>) row(p.n4)::record then '"title":' || coalesce(to_json(p.o4)::text, 'null') end, case when row(p.o5)::record operator(pg_catalog.*<>) row(p.n5)::record then '"value":' || coalesce(to_json(p.o5)::text, 'null') end, case when row(p.o6)::record operator(pg_catalog.*<>) row(p.n6)::record then '"currency":' || coalesce(to_json(p.o6)::text, 'null') end, case when row(p.o7)::record operator(pg_catalog.*<>) row(p.n7)::record then '"stage":' || coalesce(to_json(p.o7)::text, 'null') end, case when row(p.o8)::record operator(pg_catalog.*<>) row(p.n8)::record then '"assigned_to":' || coalesce(to_json(p.o8)::text, 'null') end, case when row(p.o9)::record operator(pg_catalog.*<>) row(p.n9)::record then '"expected_close":' || coalesce(to_json(p.o9)::text, 'null') end, case when row(p.o10)::record operator(pg_catalog.*<>) row(p.n10)::record then '"created_at":' || coalesce(to_json(p.o10)::text, 'null') end, case when row(p.o11)::record operator(pg_catalog.*<>) row(p.n11)::record then '"updated_at":' || coalesce(to_json(p.o11)::text, 'null') end]::text[], ',') || '}')::json end as previous, case when p.is_new then p.n1 else p.o1 end as k1
                              from (select case when s.is_new then n.tenant else o.tenant end as tenant_id,
                                           case when not s.is_new then '{deal.deleted}'::text[] when o.tenant is distinct from n.tenant then '{deal.created}'::text[] else array_remove(array['deal.updated', case when row(o.c8)::record operator(pg_catalog.*<>) row(n.c8)::record and n.c8 is not null then 'deal.assigned' end, case when row(o.c7)::record operator(pg_catalog.*<>) row(n.c7)::record then 'deal.stage.changed' end]::text[], null) end as event_types,
                                           case when s.is_new then n.key else o.key end as row_key,
                                           case when s.is_new then n.whole else o.whole end as whole,
                                           o.tenant is distinct from n.tenant as moved, s.is_new, null::text as problem, o.c1 as o1, n.c1 as n1, o.c2 as o2, n.c2 as n2, o.c3 as o3, n.c3 as n3, o.c4 as o4, n.c4 as n4, o.c5 as o5, n.c5 as n5, o.c6 as o6, n.c6 as n6, o.c7 as o7, n.c7 as n7, o.c8 as o8, n.c8 as n8, o.c9 as o9, n.c9 as n9, o.c10 as o10, n.c10 as n10, o.c11 as o11, n.c11 as n11
                                      from (select side.*, side.image as whole, side.c1::text collate "C" as key from (select null::text as id, null::text as organization_id, null::text as contact_id, null::text as title, null::text as value, null::text as currency, null::text as stage, null::text as assigned_to, null::text as expected_close, null::text as created_at, null::text as updated_at) as missing cross join lateral (select (r.*)::record as image, organization_id::text collate "default" as tenant, id as c1, organization_id as c2, contact_id as c3, title as c4, value as c5, currency as c6, stage as c7, assigned_to as c8, expected_close as c9, created_at as c10, updated_at as c11 from rowhook_old as r) as side) as o full join (select side.*, side.image as whole, side.c1::text collate "C" as key from (select null::text as id, null::text as organization_id, null::text as contact_id, null::text as title, null::text as value, null::text as currency, null::text as stage, null::text as assigned_to, null::text as expected_close, null::text as created_at, null::text as updated_at) as missing cross join lateral (select (r.*)::record as image, organization_id::text collate "default" as tenant, id as c1, organization_id as c2, contact_id as c3, title as c4, value as c5, currency as c6, stage as c7, assigned_to as c8, expected_close as c9, created_at as c10, updated_at as c11 from rowhook_new as r) as side) as n on o.key = n.key
                                     cross join (values (false), (true)) as s (is_new)
                                     where case when o.tenant is distinct from n.tenant then true else s.is_new and row(o.c1, o.c2, o.c3, o.c4, o.c5, o.c6, o.c7, o.c8, o.c9, o.c10)::record operator(pg_catalog.*<>) row(n.c1, n.c2, n.c3, n.c4, n.c5, n.c6, n.c7, n.c8, n.c9, n.c10)::record end
                                    offset 0) as p) as e
                             where e.tenant_id is not null and e.event_types <> '{}' and (select true from rowhook.webhook_configurations as w where w.tenant_id = e.tenant_id and coalesce(w.disabled_at, 'infinity') > now() - interval '30 days' and w.event_types && (e.event_types || '{*,deal.*,deal.stage.*}'::text[]) limit 1)
                            offset 0) as e) as d) as f;
      end if;
    end if;
    if v_wanted is null then
      begin
        execute rowhook._wanted_now(2, tg_relid, tg_op) into v_wanted;
        exit capture when not v_wanted;
        v_query := rowhook._capture_now(2, tg_relid, tg_op);
        execute 'select count(t) from (' || v_query || ' offset 0) as t';
      exception
        when transaction_rollback then raise;
        when others or assert_failure then v_query := rowhook._capture_now(2, tg_relid, tg_op, rowhook._problem(sqlstate, sqlerrm));
      end;
      exit capture when v_query is null;
      execute 'insert into rowhook.webhook_outbox (source_id, lane, tenant_id, event_types, row_key, data, previous, truncated) ' || v_query;
    end if;
    get diagnostics v_written = row_count;
  end;
  if v_settings is not null then
    perform rowhook._unpin(v_settings);
  end if;
  if v_written > 0 then
    if pg_sequence_last_value('rowhook.doorbell'::regclass) = 2 then
      if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('rowhook', '');
      end if;
    end if;
  end if;
  return null;
end
$function$;

CREATE TRIGGER rowhook_delete AFTER DELETE ON public.deals REFERENCING OLD TABLE AS rowhook_old FOR EACH STATEMENT EXECUTE FUNCTION rowhook._capture_2();
CREATE TRIGGER rowhook_insert AFTER INSERT ON public.deals REFERENCING NEW TABLE AS rowhook_new FOR EACH STATEMENT EXECUTE FUNCTION rowhook._capture_2();
CREATE TRIGGER rowhook_update AFTER UPDATE ON public.deals REFERENCING OLD TABLE AS rowhook_old NEW TABLE AS rowhook_new FOR EACH STATEMENT EXECUTE FUNCTION rowhook._capture_2();
