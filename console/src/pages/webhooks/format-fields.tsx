import { SelectField, TextField } from '../../ui/field.tsx';
import { FORMATS, type PartProps } from './form.tsx';

/** Those that this server knows: it refuses the others with a sentence. */
const KNOWN = ['nested', 'flat'];

export function FormatFields({ draft, errors, change }: PartProps) {
  const isBatchable = ['nested', 'flat', 'cloudevents'].includes(draft.payload_format);
  return (
    <>
      <SelectField
        label="Body"
        value={draft.payload_format}
        onChange={(payload_format) => change({ payload_format })}
        error={errors.payload_format}
        options={KNOWN.map((format) => [format, FORMATS[format] ?? format] as const)}
      />
      {isBatchable && (
        <div className="columns">
          <TextField
            label="Most in one request"
            type="number"
            value={draft.batch_max_events}
            onChange={(batch_max_events) => change({ batch_max_events })}
            error={errors.batch_max_events}
            help="Above 1, several are sent together."
          />
          {draft.batch_max_events !== '1' && (
            <TextField
              label="Longest wait in milliseconds"
              type="number"
              value={draft.batch_max_wait_ms}
              onChange={(batch_max_wait_ms) => change({ batch_max_wait_ms })}
              error={errors.batch_max_wait_ms}
            />
          )}
        </div>
      )}
    </>
  );
}
