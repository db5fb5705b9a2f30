import * as Switch from '@radix-ui/react-switch';

export function Toggle({
  label,
  checked,
  onChange,
  disabled,
  isLabelHidden,
}: {
  label: string;
  checked: boolean;
  onChange: (checked: boolean) => void;
  disabled?: boolean;
  isLabelHidden?: boolean;
}) {
  return (
    <span className="toggle">
      <Switch.Root
        className="switch"
        checked={checked}
        disabled={disabled ?? false}
        onCheckedChange={onChange}
        aria-label={label}
      >
        <Switch.Thumb className="switch-thumb" />
      </Switch.Root>
      {!isLabelHidden && <span aria-hidden="true">{label}</span>}
    </span>
  );
}
