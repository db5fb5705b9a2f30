/** The receivers of docs/use/receivers.md, which its tests run against real requests. */
import * as Tabs from '@radix-ui/react-tabs';
import page from '../../../../docs/use/receivers.md?raw';
import { CodeBlock } from '../../ui/code.tsx';

const NAMES: Readonly<Record<string, string>> = {
  node: 'Node',
  python: 'Python',
  php: 'PHP',
  go: 'Go',
  ruby: 'Ruby',
};

const receivers = [...page.matchAll(/<!-- receiver: (\w+) -->\n```\w+\n([\s\S]*?)\n```/g)].map(
  ([, language = '', code = '']) => ({ language, code }),
);

export default function Receivers() {
  return (
    <Tabs.Root defaultValue={receivers[0]?.language ?? ''}>
      <Tabs.List className="tabs tabs-small" aria-label="Languages">
        {receivers.map(({ language }) => (
          <Tabs.Trigger key={language} value={language} className="tab">
            {NAMES[language] ?? language}
          </Tabs.Trigger>
        ))}
      </Tabs.List>
      {receivers.map(({ language, code }) => (
        <Tabs.Content key={language} value={language}>
          <CodeBlock label={`Receiver in ${NAMES[language] ?? language}`} text={code} canIndent={false} />
        </Tabs.Content>
      ))}
    </Tabs.Root>
  );
}
