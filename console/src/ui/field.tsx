/** Form fields: each with its label, its help, and its error, tied together for screen readers. */
import { type ReactNode, useId } from 'react';

interface Common {
  label: string;
  help?: ReactNode;
  error?: string | undefined;
  disabled?: boolean;
}

function describedBy(id: string, help: ReactNode, error: string | undefined): string | undefined {
  const ids = [error && `${id}-error`, help && `${id}-help`].filter(Boolean);
  return ids.length > 0 ? ids.join(' ') : undefined;
}

export function Field({ id, label, help, error, children }: Common & { id: string; children: ReactNode }) {
  return (
    <div className={error ? 'field field-wrong' : 'field'}>
      <label htmlFor={id}>{label}</label>
      {children}
      {error && (
        <p className="field-error" id={`${id}-error`}>
          {error}
        </p>
      )}
      {help && (
        <p className="field-help" id={`${id}-help`}>
          {help}
        </p>
      )}
    </div>
  );
}

interface TextFieldProps extends Common {
  value: string;
  onChange: (value: string) => void;
  onBlur?: () => void;
  type?: 'text' | 'url' | 'password' | 'number' | 'search' | 'datetime-local';
  placeholder?: string;
  autoComplete?: string;
  autoFocus?: boolean;
  isMono?: boolean;
  rows?: number;
  min?: number;
  max?: number;
}

export function TextField({ label, help, error, value, onChange, isMono, rows, autoFocus, ...rest }: TextFieldProps) {
  const id = useId();
  const common = {
    id,
    value,
    'aria-invalid': error ? true : undefined,
    'aria-describedby': describedBy(id, help, error),
    className: isMono ? 'input mono' : 'input',
    spellCheck: false,
  };
  return (
    <Field id={id} label={label} help={help} error={error}>
      {rows === undefined ? (
        // biome-ignore lint/a11y/noAutofocus: only where the field is the page's one purpose
        <input {...common} {...rest} autoFocus={autoFocus} onChange={(event) => onChange(event.target.value)} />
      ) : (
        <textarea
          {...common}
          rows={rows}
          placeholder={rest.placeholder}
          disabled={rest.disabled}
          onBlur={rest.onBlur}
          onChange={(event) => onChange(event.target.value)}
        />
      )}
    </Field>
  );
}

interface SelectFieldProps extends Common {
  value: string;
  onChange: (value: string) => void;
  options: readonly (readonly [value: string, label: string])[];
}

export function SelectField({ label, help, error, value, onChange, options, disabled }: SelectFieldProps) {
  const id = useId();
  return (
    <Field id={id} label={label} help={help} error={error}>
      <select
        id={id}
        className="input select"
        value={value}
        disabled={disabled}
        aria-describedby={describedBy(id, help, error)}
        onChange={(event) => onChange(event.target.value)}
      >
        {options.map(([option, text]) => (
          <option key={option} value={option}>
            {text}
          </option>
        ))}
      </select>
    </Field>
  );
}

/** In a toolbar the label is for screen readers only. */
export function FilterSelect({ label, value, onChange, options }: Omit<SelectFieldProps, 'help' | 'error'>) {
  return (
    <select
      className="input select input-small"
      aria-label={label}
      value={value}
      onChange={(event) => onChange(event.target.value)}
    >
      {options.map(([option, text]) => (
        <option key={option} value={option}>
          {text}
        </option>
      ))}
    </select>
  );
}

export function CheckField({
  label,
  help,
  checked,
  onChange,
  disabled,
}: {
  label: string;
  help?: ReactNode;
  checked: boolean;
  onChange: (checked: boolean) => void;
  disabled?: boolean;
}) {
  const id = useId();
  return (
    <div className="check">
      <input
        id={id}
        type="checkbox"
        checked={checked}
        disabled={disabled}
        aria-describedby={help ? `${id}-help` : undefined}
        onChange={(event) => onChange(event.target.checked)}
      />
      <label htmlFor={id}>{label}</label>
      {help && (
        <p className="field-help" id={`${id}-help`}>
          {help}
        </p>
      )}
    </div>
  );
}
