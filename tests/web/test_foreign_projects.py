"""What a job took out of a project is for whoever has the project."""

from uuid import UUID

import pytest

from tests.support.api import ADA, ANN, BOB, Api
from tests.support.factories import insert_plainly
from wastewise_jobs.projects.analysis_store import AnalysisStore


@pytest.mark.parametrize("path", ["rows", "reports/html", "reports/xlsx"])
async def test_rows_and_reports_follow_the_project(api: Api, path: str) -> None:
    project = await api.new_project()
    planted = await insert_plainly(
        api.pool, user_id=BOB, project_id=UUID(project), status="completed"
    )
    own = await insert_plainly(api.pool, user_id=ANN, project_id=UUID(project), status="completed")
    async with api.pool.acquire() as connection:
        for job_id in (planted, own):
            await AnalysisStore(connection).save_rows(job_id, ['{"a": 1}'])
            for name in ("html", "xlsx"):
                await AnalysisStore(connection).save_report(job_id, name, b"x")

    refused = await api.get(f"/api/jobs/{planted}/{path}", user=BOB)

    assert (refused.status, refused.code) == (404, "job_not_found")
    assert (await api.get(f"/api/jobs/{own}/{path}")).status == 200
    assert (await api.get(f"/api/jobs/{planted}/{path}", user=ADA, admin=True)).status == 200


async def test_a_strangers_job_keeps_nobody_from_deleting_a_project(api: Api) -> None:
    project = await api.new_project()
    await insert_plainly(api.pool, user_id=BOB, project_id=UUID(project))

    assert (await api.request("DELETE", f"/api/projects/{project}")).status == 204
