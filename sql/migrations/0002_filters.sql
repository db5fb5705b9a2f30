-- rowhook 0002: the check of a webhook's filter.
--
-- A filter is a set of conditions on an event's row:
-- {"data.stage":"won","data.value":{"$gt":10000}}. The daemon evaluates it
-- (src/match/filter/filter.ts describes what it means). Here it is only checked, so that an invalid
-- filter is refused on insert, with the path and the reason, whatever client writes it. Both sides
-- have the same rules and the same sentences; test/match/filters.corpus.ts is run through both.
--
--   filter    := { path: condition, ... }   all must hold
--              | { "$and" | "$or": [filter, ...] } | { "$not": filter }       mixed freely
--   condition := value | { operator: operand, ... }
--              | { "$and" | "$or": [condition, ...] } | { "$not": condition }
--
-- Tenants write filters and the daemon runs them, so everything has a limit: length, conditions,
-- levels of $and, $or and $not, names in a path, digits of a number.

set role rowhook_owner;

-- The planner expects far more rows than such a text can hold and would have LLVM compile the
-- query: 1,060 ms a check with JIT, 0.4 ms without.
create function rowhook._filter_problem(p_filter jsonb)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
set row_security = on
set jit = off
as $$
begin
  -- The length is checked before anything walks through the filter.
  if length(p_filter::text) > 16384 then
    return 'filter: is longer than 16384 characters.';
  end if;

  return (
    with recursive
    operator (name, types, takes) as (
      values
        ('$eq',         '{string,number,boolean,"null"}'::text[],
                                                 'a string, a number, true, false or null'),
        ('$ne',         '{string,number,boolean,"null"}',
                                                 'a string, a number, true, false or null'),
        ('$gt',         '{string,number}',       'a string or a number'),
        ('$gte',        '{string,number}',       'a string or a number'),
        ('$lt',         '{string,number}',       'a string or a number'),
        ('$lte',        '{string,number}',       'a string or a number'),
        ('$in',         '{array}',               'a list of strings, numbers, true, false or null'),
        ('$nin',        '{array}',               'a list of strings, numbers, true, false or null'),
        ('$exists',     '{boolean}',             'true or false'),
        ('$startsWith', '{string}',              'a string'),
        ('$endsWith',   '{string}',              'a string'),
        ('$contains',   '{string,number,boolean,"null"}',
                                                 'a string, a number, true, false or null'),
        ('$and',        '{array}',               'a list of conditions'),
        ('$or',         '{array}',               'a list of conditions'),
        ('$not',        null,                    null)
    ),

    -- Every filter and condition in p_filter, from the outside in. path is null until one is named.
    part (place, path, value, level) as (
      select '', null::text, p_filter, 1
      union all
      select inner_part.*
        from part
        cross join lateral jsonb_each(
          case
            when jsonb_typeof(part.value) = 'object' and part.level <= 8 then part.value
            else '{}'
          end) entry
        cross join lateral (
          select concat(part.place, ' ', entry.key, '[', member.number - 1, ']'),
                 part.path,
                 member.value,
                 part.level + 1
            from jsonb_array_elements(
                   case
                     when entry.key in ('$and', '$or') and jsonb_typeof(entry.value) = 'array'
                       then entry.value
                     else '[]'
                   end) with ordinality member (value, number)
          union all
          select part.place || ' $not', part.path, entry.value, part.level + 1
           where entry.key = '$not'
          union all
          select concat(part.place, ' ', to_json(
                   case
                     when length(entry.key) > 60 then left(entry.key, 60) || '...'
                     else entry.key
                   end)),
                 entry.key,
                 entry.value,
                 part.level
           where part.path is null and left(entry.key, 1) <> '$'
        ) inner_part (place, path, value, level)
    ),

    -- Every key of these parts with its operand. {"data.stage":"won"} is short for
    -- {"data.stage":{"$eq":"won"}}.
    entry (place, path, key, operand) as (
      select part.place, part.path, each.key, each.value
        from part
        cross join lateral jsonb_each(
          case
            when jsonb_typeof(part.value) = 'object' and part.level <= 8 then part.value
            else '{}'
          end) each
      union all
      select place, path, '$eq', value
        from part
       where path is not null and jsonb_typeof(value) <> 'object'
    ),

    -- The values that an operator compares with, one by one.
    operand (place, key, value) as (
      select entry.place, entry.key, single.value
        from entry
        cross join lateral jsonb_array_elements(
          case jsonb_typeof(entry.operand)
            when 'array' then entry.operand
            else jsonb_build_array(entry.operand)
          end) single
       where entry.path is not null and entry.key not in ('$and', '$or', '$not')
    ),

    problem (place, sentence) as (
      select place,
             case
               when jsonb_typeof(value) <> 'object' and path is null then
                 'must be an object of conditions such as {"data.stage":"won"}'
               when jsonb_typeof(value) <> 'object' then null
               when level > 8 then 'is nested deeper than 8 levels'
               when value = '{}' and place <> '' then 'has no condition'
             end
        from part

      union all
      select entry.place,
             case
               when operator.name is null then
                 format('uses unknown operator %s; known operators are %s',
                   to_json(
                     case
                       when length(entry.key) > 60 then left(entry.key, 60) || '...'
                       else entry.key
                     end),
                   '$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $startsWith, $endsWith, '
                   '$contains, $and, $or, $not')
               when entry.path is null and entry.key not in ('$and', '$or', '$not') then
                 format('%s stands without a path; write {"data.value":{"%1$s":...}}', entry.key)
               when jsonb_typeof(entry.operand) <> all (operator.types)
                    or (operator.types = '{array}' and entry.operand = '[]') then
                 format('%s takes %s', entry.key, operator.takes)
             end
        from entry
        left join operator on operator.name = entry.key
       where entry.path is not null or left(entry.key, 1) = '$'

      union all
      select place,
             case
               when coalesce(names[1] not in ('data', 'previous'), true)
                    or cardinality(names) < 2
                    or '' = any (names) then
                 'is not a path; write data. or previous. and a name, such as data.stage'
               when cardinality(names) > 16 or length(path) > 256 then
                 'is longer than 16 names or 256 characters'
             end
        from part
        cross join lateral string_to_array(path, '.') names
       where path is not null

      union all
      select operand.place || ' ' || operand.key,
             case
               when jsonb_typeof(operand.value) in ('object', 'array') then
                 'takes ' || operator.takes
               when jsonb_typeof(operand.value) = 'number'
                    and length(translate(operand.value #>> '{}', '-.', '')) > 1000 then
                 'takes numbers of at most 1000 digits'
             end
        from operand
        join operator on operator.name = operand.key

      union all
      select '', 'has more than 100 conditions'
       where (select count(*)
                from entry
               where path is not null and key not in ('$and', '$or', '$not')) > 100
    )

    select format('filter:%s %s.', place, sentence)
      from problem
     where sentence is not null
     order by place collate "C", sentence collate "C"
     limit 1
  );
end
$$;

comment on function rowhook._filter_problem(jsonb) is
  'A sentence that says why a webhook''s filter is refused: where, what is wrong and what would '
  'be right. Null when the filter is valid.';

revoke execute on function rowhook._filter_problem(jsonb) from public;
grant execute on function rowhook._filter_problem(jsonb) to rowhook_app, rowhook_daemon;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 2;

reset role;
