import { SETTING_HELP } from "#lib/env-help.ts";

/** All settings, for \`--help\`. */
export function environmentHelp(): string {
  const lines = Object.entries(SETTING_HELP).map(
    ([name, help]) => `  ${name.padEnd(22)} ${help.about} (${help.allowed}; default: ${help.fallback})`,
  );
  return `Environment:\n${lines.join("\n")}\n`;
}
