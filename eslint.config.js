import js from "@eslint/js";
import prettier from "eslint-config-prettier";
import globals from "globals";
import tseslint from "typescript-eslint";

// Imports go downwards only: a folder may use itself and the folders of the lower levels (docs/architecture.md).
const LEVELS = [["protocol"], ["evaluation"], ["search", "training", "storage"], ["pool"], ["agents"], ["cli"]];

const layers = LEVELS.flatMap((level, height) =>
  level.map((folder) => {
    const forbidden = LEVELS.slice(height)
      .flat()
      .filter((other) => other !== folder);
    return {
      files: [`offchain/${folder}/**/*.ts`],
      rules: {
        "no-restricted-imports": [
          "error",
          {
            patterns: [
              {
                regex: `^(\\.\\./)+(offchain/)?(${forbidden.join("|") || "^$"})/`,
                message: `offchain/${folder} may import only downwards: ${LEVELS.slice(0, height).flat().join(", ") || "nothing"}.`,
              },
            ],
          },
        ],
      },
    };
  }),
);

export default tseslint.config(
  {
    ignores: [
      "node_modules",
      "artifacts",
      "cache",
      "coverage",
      "types",
      "ignition/deployments",
      "offchain/protocol/abi.ts",
    ],
  },
  js.configs.recommended,
  ...tseslint.configs.strict,
  prettier,
  {
    languageOptions: { globals: globals.node },
    rules: {
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "@typescript-eslint/consistent-type-imports": "error",
      "no-console": "off",
      // Node strips types and compiles nothing: what would need compiling must not be written.
      "no-restricted-syntax": [
        "error",
        "TSEnumDeclaration",
        "TSParameterProperty",
        "TSModuleDeclaration[kind='namespace']",
      ],
    },
  },
  { files: ["test/**/*.ts"], rules: { "@typescript-eslint/no-unused-expressions": "off" } },
  ...layers,
);
