"""The whole command at a glance: every verb and its name."""

import typer

from services.cli.session import Program
from services.cli.verb import Verb, verb
from services.cli.verbs import (
    access,
    adapters,
    answers,
    assistants,
    audit,
    comparison,
    conversations,
    datasets,
    demo,
    documents,
    erase,
    evaluation,
    gate_rules,
    index,
    index_comparison,
    kept_sets,
    people,
    platform,
    records,
    secrets,
    sources,
    tenant,
    training,
    tune,
    tuning,
    tuning_demo,
)

VERBS: dict[str, Verb] = {
    "up": platform.up,
    "down": platform.down,
    "status": platform.status,
    "logs": platform.show_logs,
    "wait": sources.wait,
    "ask": answers.ask,
    "search": answers.search,
    "rate": answers.rate,
    "compare": comparison.compare,
    "demo": demo.demo,
    "whoami": people.whoami,
    "interactions": records.interactions,
    "ratings": records.ratings,
}
GROUPS: dict[str, dict[str, Verb]] = {
    "source": {
        "list": sources.list_sources,
        "status": sources.status,
        "sync": sources.sync,
        "remove": sources.remove,
        "replay": sources.replay,
        "readers": sources.readers,
        "rechunk": sources.rechunk,
    },
    "source add": {"files": sources.add_files, "push": sources.add_push},
    "document": {"list": documents.list_documents, "readers": documents.readers},
    "secret": {"put": secrets.put, "list": secrets.list_secrets, "delete": secrets.delete},
    "assistant": {
        "put": assistants.put,
        "show": assistants.show_one,
        "list": assistants.list_all,
        "versions": assistants.versions,
        "delete": assistants.delete,
        "rollback": assistants.rollback,
    },
    "conversation": {"list": conversations.list_all, "show": conversations.show, "delete": conversations.delete},
    "key": {"create": access.create_key, "list": access.list_keys, "revoke": access.revoke_key},
    "audit": {"list": audit.list_events, "export": audit.export_events},
    "erase": {"user": erase.erase_user, "tenant": erase.erase_tenant, "list": erase.list_erasures},
    "user": {
        "put": people.put_user,
        "list": people.list_users,
        "remove": people.remove_user,
        "principals": people.show_principals,
    },
    "group": {
        "put": people.put_group,
        "list": people.list_groups,
        "remove": people.remove_group,
        "change": people.change_group,
    },
    "adapters": {
        "list": adapters.list_adapters,
        "show": adapters.show,
        "diff": adapters.diff,
        "import": adapters.take_in,
        "promote": adapters.promote,
        "canary": adapters.canary,
        "rollback": adapters.rollback,
        "aliases": adapters.aliases,
        "history": adapters.history,
        "delete": adapters.delete,
        "load": adapters.load,
        "unload": adapters.unload,
        "loaded": adapters.loaded,
    },
    "eval": {
        "retrieval": evaluation.evaluate_retrieval,
        "answers": evaluation.evaluate_answers,
        "make": evaluation.make_set,
        "keep": kept_sets.keep,
        "sets": kept_sets.list_sets,
        "show": kept_sets.show,
        "remove": kept_sets.remove,
        "run": kept_sets.run,
        "schedule": kept_sets.schedule,
        "history": kept_sets.history,
    },
    "dataset": {
        "build": datasets.build,
        "upload": datasets.upload,
        "list": datasets.list_all,
        "show": datasets.show,
        "report": datasets.report,
        "rows": datasets.rows,
        "delete": datasets.delete,
        "builds": datasets.builds,
        "cancel": datasets.cancel,
    },
    "tune": {
        "reranker": tune.reranker,
        "demo": tuning_demo.demo,
        "run": training.run,
        "runs": tune.runs,
        "show": training.show,
        "cancel": tune.cancel,
        "rerankers": tune.rerankers,
        "promote": tune.promote,
        "rollback": tune.rollback,
        "history": tune.history,
    },
    "tune rules": {"show": gate_rules.show, "set": gate_rules.put, "history": gate_rules.history},
    "tenant": {"placement": tenant.placement, "move": tenant.move},
    "index": {
        "show": index.show,
        "build": index.build,
        "compare": index_comparison.compare,
        "switch": index.switch,
        "revert": index.revert,
        "drop": index.drop,
    },
    "tuning": {
        "show": tuning.show,
        "set": tuning.change,
        "history": tuning.history,
        "rollback": tuning.rollback,
        "learn": tuning.learn,
    },
}
HELP = {
    "source": "Where documents come from.",
    "source add": "Add a source.",
    "document": "What the sources hold.",
    "secret": "What connectors need to enter other systems.",  # no secret itself  # nosec B105
    "assistant": "Named ways of answering.",
    "conversation": "What you asked, and were answered.",
    "key": "API keys.",
    "audit": "Who did what, and who was given which passages.",
    "erase": "Remove a person, or the tenant, from everywhere.",
    "user": "People in the directory.",
    "group": "Groups of people in the directory.",
    "adapters": "LoRA adapters: what was trained, and the aliases that point at it.",
    "eval": "How good searches and answers are.",
    "dataset": "What models are tuned from.",
    "tune": "Rerankers, trained from what is known.",
    "tune rules": "By which rules adapters are judged.",
    "tenant": "The tenant as a whole.",
    "index": "How the tenant's index is made.",
    "tuning": "How searches rank.",
}


def build_app(program: Program) -> typer.Typer:
    """Return the `tandem` command that runs `program`."""
    app = _group("Assistants that know your company: retrieval and tuned models together.")
    for name, function in VERBS.items():
        app.command(name)(verb(function, program))
    app.command("supervise", hidden=True)(verb(platform.supervise, program))
    groups = {"": app}
    for path, verbs in GROUPS.items():
        groups[path] = _group(HELP[path])
        for name, function in verbs.items():
            groups[path].command(name)(verb(function, program))
        above, _, own_name = path.rpartition(" ")
        groups[above].add_typer(groups[path], name=own_name)
    return app


def _group(description: str) -> typer.Typer:
    return typer.Typer(help=description, no_args_is_help=True, pretty_exceptions_enable=False)
