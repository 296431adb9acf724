import tseslint from 'typescript-eslint'

export default tseslint.config({ ignores: ['dist', 'node_modules', '../src'] }, ...tseslint.configs.recommended, {
  rules: { eqeqeq: 'error', 'no-eval': 'error', 'no-implied-eval': 'error' },
})
