"""A small agent program without a model: `python -m relay_runner.providers.demo_agent`.

It needs no account and behaves at its terminal like the real ones: an input line that keeps a draft, bracketed pastes,
a permission question, a spinner, a transcript. Standard library only, so that it starts at once.
"""
