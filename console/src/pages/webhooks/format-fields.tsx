import { SelectField, TextField } from '../../ui/field.tsx';
import { FORMATS, type PartProps } from './form.tsx';

export function FormatFields({ draft, errors, change }: PartProps) {
  const isBatchable = ['nested', 'flat', 'cloudevents'].includes(draft.payload_format);
  return (
    <>
      <SelectField
        label="Body"
        value={draft.payload_format}
        onChange={(payload_format) => change({ payload_format })}
        error={errors.payload_format}
        options={Object.entries(FORMATS)}
      />
      {draft.payload_format === 'template' && (
        <>
          <TextField
            label="Template"
            value={draft.payload_template}
            onChange={(payload_template) => change({ payload_template })}
            error={errors.payload_template}
            rows={8}
            isMono
            placeholder={'{"text": {{ data.title | json }}}'}
            help="Liquid, over the fields of the event."
          />
          <TextField
            label="Content type"
            value={draft.content_type}
            onChange={(content_type) => change({ content_type })}
            error={errors.content_type}
            isMono
            placeholder="application/json"
          />
        </>
      )}
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
