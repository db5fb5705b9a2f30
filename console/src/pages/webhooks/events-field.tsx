/** The events of a webhook: typed as patterns, or ticked in a tree of what there is. */
import { useId, useMemo } from 'react';
import { useKnownEvents } from '../../api/events.ts';
import { Field } from '../../ui/field.tsx';
import { CrossIcon } from '../../ui/icons.tsx';
import { patternsIn, wrongPattern } from './draft.ts';

interface EventsFieldProps {
  value: readonly string[];
  /** What is typed, and not taken yet. */
  text: string;
  onChange: (part: { event_types?: string[]; event_text?: string }) => void;
  error: string | undefined;
}

export function EventsField({ value, text, onChange, error }: EventsFieldProps) {
  const id = useId();
  const { known, isLoading } = useKnownEvents();
  // "deal." is on its way to "deal.updated".
  const wrong = wrongPattern(text.replace(/\.$/, ''));

  const add = (types: readonly string[]) => onChange({ event_types: [...new Set([...value, ...types])] });
  const remove = (type: string) => onChange({ event_types: value.filter((one) => one !== type) });
  // Not when the field is left: the page would move under a click on Create.
  const take = () => {
    const typed = patternsIn(text);
    if (typed.length > 0 && wrong === undefined)
      onChange({ event_types: [...new Set([...value, ...typed])], event_text: '' });
  };
  const problem = wrong === undefined ? error : `“${wrong}” is not an event. Write deal.updated, deal.* or *.`;
  return (
    <Field
      id={id}
      label="Events"
      error={problem}
      help="Type one and press Enter, or tick some. deal.* means every event of deals, * all events."
    >
      <div className="events-box">
        {value.map((type) => (
          <span className="tag mono" key={type}>
            {type === '*' ? '* (all)' : type}
            <button type="button" aria-label={`Remove ${type}`} onClick={() => remove(type)}>
              <CrossIcon />
            </button>
          </span>
        ))}
        <input
          id={id}
          className="events-input mono"
          value={text}
          spellCheck={false}
          autoComplete="off"
          aria-invalid={problem ? true : undefined}
          aria-describedby={problem ? `${id}-error ${id}-help` : `${id}-help`}
          placeholder={value.length === 0 ? 'deal.*' : ''}
          onChange={(event) => onChange({ event_text: event.target.value })}
          onKeyDown={(event) => {
            if (event.key === 'Enter' || event.key === ',') {
              if (text === '' && event.key === 'Enter') return;
              event.preventDefault();
              take();
            }
            if (event.key === 'Backspace' && text === '' && value.length > 0)
              onChange({ event_types: value.slice(0, -1) });
          }}
        />
      </div>
      {isLoading ? (
        <div className="event-tree event-tree-loading" aria-hidden="true" />
      ) : (
        <EventTree known={known} text={text} value={value} add={add} remove={remove} />
      )}
    </Field>
  );
}

interface EventTreeProps {
  known: readonly string[];
  text: string;
  value: readonly string[];
  add: (types: readonly string[]) => void;
  remove: (type: string) => void;
}

const SHOWN_MAX = 60;

function EventTree({ known, text, value, add, remove }: EventTreeProps) {
  const groups = useMemo(() => {
    const fitting = known.filter((type) => type.includes(text.trim().toLowerCase())).slice(0, SHOWN_MAX);
    return [...Map.groupBy(fitting, (type) => type.split('.')[0] ?? type)];
  }, [known, text]);
  if (groups.length === 0) return null;
  const isAll = value.includes('*');
  return (
    <div className="event-tree">
      <label className="event-group strong">
        <input type="checkbox" checked={isAll} onChange={() => (isAll ? remove('*') : add(['*']))} />
        All, also future ones
      </label>
      {groups.map(([group, types]) => {
        const pattern = `${group}.*`;
        const isWhole = isAll || value.includes(pattern);
        return (
          <div className="event-group" key={group}>
            <label className="strong mono">
              <input
                type="checkbox"
                checked={isWhole}
                disabled={isAll}
                onChange={() => (isWhole ? remove(pattern) : add([pattern]))}
              />
              {pattern}
            </label>
            <div className="event-types">
              {types.map((type) => (
                <label className="mono" key={type}>
                  <input
                    type="checkbox"
                    checked={isWhole || value.includes(type)}
                    disabled={isWhole}
                    onChange={() => (value.includes(type) ? remove(type) : add([type]))}
                  />
                  {type}
                </label>
              ))}
            </div>
          </div>
        );
      })}
    </div>
  );
}
